"""Hostile commands: what a sandbox can do to take all of a machine. Each runs for COMMAND_MS at most.

A value of the tables is one bash command, or a Python program that begins with `import`.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tests.support.model import Json

COMMAND_MS: Final = 8_000
"""Time limit of a hostile command."""

PROCESSES: Final = {
    "fork bomb": ":(){ :|:& };:; sleep 6",
    "fork bomb that ignores signals": """import os, signal
for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
while True:
    try: os.fork()
    except OSError: pass""",
    "background processes by hundreds": "for i in $(seq 400); do sleep 300 & done; echo started",
    "sleeping processes by thousands": """import os, time
for _ in range(5000):
    try:
        if os.fork() == 0: time.sleep(300); os._exit(0)
    except OSError: time.sleep(0.01)""",
    "processes of a moment": "while :; do /bin/true; done",
    "every core busy": """import os
for _ in range(3): os.fork()
while True: pass""",
    "every core busy in the background": "for i in 1 2 3 4 5 6; do (while :; do :; done) & done; sleep 7",
    "threads that wake each other": """import threading
turn = threading.Condition()
def work():
    while True:
        with turn: turn.notify_all(); turn.wait(0.01)
for _ in range(60): threading.Thread(target=work).start()""",
    "kill -1": "kill -9 -1; echo on",
    "kill by name": "pkill -9 python3; pkill -9 bash; killall -9 bwrap sh; echo on",
    "kill and stop of all in /proc": "for p in /proc/[0-9]*; do kill -STOP ${p#/proc/}; kill -9 ${p#/proc/}; done",
    "real-time priority": """import os
for policy in (os.SCHED_FIFO, os.SCHED_RR):
    try: os.sched_setscheduler(0, policy, os.sched_param(50)); print("granted")
    except OSError as exc: print(exc)
try: os.nice(-20)
except OSError as exc: print(exc)
os.fork()
while True: pass""",
}

MEMORY: Final = {
    "one process that grows": """import os
kept = []
while True: kept.append(b'x' * (32 << 20))""",
    "many processes that grow": """import os
for _ in range(4): os.fork()
kept = []
while True: kept.append(b'x' * (4 << 20))""",
    "full /tmp and /dev/shm": "for f in /tmp/f /dev/shm/f; do head -c 2G /dev/zero > $f; done; rm -f /tmp/f /dev/shm/f",
    "pages mapped again and again": """import mmap
while True:
    pages = mmap.mmap(-1, 64 << 20)
    for n in range(0, 64 << 20, 4096): pages[n] = 1
    pages.close()""",
    "buffers of sockets": """import os, socket, time
for _ in range(4): os.fork()
kept = []
while True:
    try:
        pair = socket.socketpair()
        kept.append(pair)
        pair[0].setblocking(False)
        while pair[0].send(b'x' * 65536): pass
    except BlockingIOError: pass
    except OSError: break
time.sleep(9)""",
}

FILES: Final = {
    "many small files": """import os
folder = 0
while True:
    folder += 1
    os.mkdir(f'd{folder}')
    for n in range(200): open(f'd{folder}/{n}', 'w').close()""",
    "full disk": "i=0; while :; do i=$((i+1)); head -c 64M /dev/zero > f$i || sleep 0.1; done",
    "disk by reservation": "for i in $(seq 20); do fallocate -l 1G g$i; done; ls | wc -l; sleep 6",
    "deleted files that are open": """import os
kept = []
while True:
    kept.append(open('f', 'wb', buffering=0))
    kept[-1].write(b'x' * (32 << 20))
    os.unlink('f')""",
    "writes that wait for the disk": """import os
file = os.open('sync', os.O_CREAT | os.O_WRONLY)
while True: os.pwrite(file, b'x' * 65536, 0); os.fsync(file)""",
    "renames and links": """import os
open('a', 'w').close()
for n in range(10**7): os.link('a', f'l{n % 3000}') if n < 3000 else os.rename(f'l{n % 3000}', f'l{n % 3000}')""",
    "deep tree": "for i in $(seq 3000); do mkdir d; cd d; done; sleep 4",
    "no rights": "mkdir s; touch s/f; chmod 0 s .; ls; sleep 3; true",
}

SHELL: Final = {
    "gigabyte of output": "head -c 1G /dev/zero | tr '\\0' x",
    "many lines of output": "yes 'a line that is printed again and again' | head -c 400M",
    "noise as output": "head -c 100M /dev/urandom",
    "terminal sequences": "for i in $(seq 200000); do printf '\\r%d\\e[31m\\e]0;x' $i; done",
    "traps": "trap '' TERM HUP INT CHLD; trap 'echo again' EXIT DEBUG ERR; while :; do :; done",
    "exit that kills": "trap 'kill -9 0' EXIT; exit 3",
    "closed descriptors": 'for n in $(seq 0 255); do eval "exec $n>&-"; done; echo on',
    "every descriptor written and read": "for f in /proc/[0-9]*/fd/*; do echo x > $f; head -c 10 $f; done",
    "writes to /proc": "for f in /proc/sys/*/* /proc/[0-9]*/{oom_score_adj,mem,comm}; do echo 1 > $f; done",
    "functions for builtins": "read() { while :; do :; done; }; eval() { :; }; printf() { :; }; echo on",
    "variable that grows": "x=x; while :; do x=$x$x; done",
}

SHARED: Final = {
    "inotify watches": """import ctypes, time
libc = ctypes.CDLL(None)
for n in range(12000): open(f'w{n}', 'w').close()
watchers = [fd for fd in (libc.inotify_init() for _ in range(40)) if fd > 0]
print(len(watchers), sum(libc.inotify_add_watch(fd, b'w%d' % n, 2) > 0 for fd in watchers for n in range(12000)))
time.sleep(4)""",
    "asynchronous I/O": """import ctypes, os
number = 206 if os.uname().machine == 'x86_64' else 0
print({ctypes.CDLL(None).syscall(number, 4096, ctypes.byref(ctypes.c_ulong())) for _ in range(99)})""",
    "epoll watches": """import os, select, time
for _ in range(6): os.fork()
fds, kept = [os.pipe()[0] for _ in range(120)], []
try:
    while True:
        kept.append(select.epoll())
        for fd in fds: kept[-1].register(fd)
except OSError as exc: print(exc)
time.sleep(3)""",
    "timers": """import ctypes, time
libc, timer = ctypes.CDLL(None), ctypes.c_void_p()
print(sum(libc.timer_create(1, None, ctypes.byref(timer)) == 0 for _ in range(300000)), flush=True)
time.sleep(3)""",
    "full pipes": """import fcntl, os, time
for _ in range(5): os.fork()
try:
    while True:
        _, writing = os.pipe()
        fcntl.fcntl(writing, 1031, 1 << 20)  # F_SETPIPE_SZ
        os.set_blocking(writing, False)
        os.write(writing, b'x' * (1 << 20))
except OSError as exc: print(exc)
time.sleep(3)""",
    "descriptors on their way": """import socket, time
kept, file = [], open('/dev/null')
try:
    while True:
        kept.append(socket.socketpair())
        for _ in range(5): socket.send_fds(kept[-1][0], [b'x'], [file.fileno()] * 200)
except OSError as exc: print(exc)
time.sleep(3)""",
}
"""What a host has once, or once for all processes of one user."""


def commands(*tables: Mapping[str, str]) -> Iterable[tuple[str, Json]]:
    """Each command of the tables by its name, as a call of a model."""
    for table in tables:
        for name, command in table.items():
            yield name, bash_call(command)


def bash_call(command: str) -> Json:
    """A step that runs the command, or the Python program, for COMMAND_MS at most."""
    if command.startswith("import "):
        command = f"python3 - <<'PROGRAM'\n{command}\nPROGRAM"
    return {"tools": [{"name": "bash", "input": {"command": command, "timeout_ms": COMMAND_MS}}]}
