"""A sandbox gets nothing dangerous from the kernel: no privileges, namespaces, keys, tracing or leftover processes."""

import os
import platform
import signal
import subprocess
from pathlib import Path

import pytest

from tests.escape.conftest import Inside
from tests.support.eventually import eventually

MAKE_SYSTEM_CALLS = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
for name, number, *args in {calls!r}:
    ctypes.set_errno(0)
    result = libc.syscall(number, *args)
    print(name, "OPEN" if result >= 0 else errno.errorcode[ctypes.get_errno()])
"""


async def answers(inside: Inside, calls: list[tuple[object, ...]]) -> dict[str, str]:
    """Make system calls, each given as name, number and arguments. By name: the error, or `OPEN` if it was allowed."""
    seen = await inside.python(MAKE_SYSTEM_CALLS.format(calls=calls))
    return dict(line.rsplit(" ", 1) for line in seen.strip().split("\n"))  # type: ignore[misc]


async def test_setuid_programs_give_nothing(inside: Inside) -> None:
    status = await inside.sh("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status")
    values = dict(line.split(":\t") for line in status.strip().split("\n"))
    assert {values[name] for name in values if name.startswith("Cap")} == {"0" * 16}
    assert values["NoNewPrivs"] == "1"
    assert values["Seccomp"] == "2"
    seen = await inside.sh(
        "find / -xdev -perm -4000 -type f 2>/dev/null | head -1 >/dev/null; cp /usr/bin/id /workspace/me;"
        " chmod 4755 /workspace/me; /workspace/me -u; id -u; cat /proc/self/uid_map; su -c id 2>&1 | grep -c uid=0"
    )
    lines = seen.split("\n")
    assert lines[0] == lines[1] == "1000"
    if not inside.is_docker:  # which maps no users: root inside would be root outside, and nothing leads there
        assert lines[2].split()[0] == "1000"
        assert lines[2].split()[2] == "1"
    assert lines[3] == "0"


async def test_no_mount_and_no_namespace(inside: Inside) -> None:
    calls = [
        ("mount", 165, b"none", b"/tmp", b"tmpfs", 0, None), ("umount", 166, b"/tmp", 0),
        ("unshare user", 272, 0x10000000), ("unshare mount", 272, 0x00020000), ("unshare net", 272, 0x40000000),
        ("setns", 308, 0, 0), ("pivot_root", 155, b"/", b"/"), ("chroot", 161, b"/"), ("fsopen", 430, b"tmpfs", 0),
        ("open_tree", 428, -100, b"/", 1), ("move_mount", 429, 0, b"", 0, b"", 0),
        ("mount_setattr", 442, 0, b"", 0, 0, 0),
        ("clone newuser", 56, 0x10000000 | 17, 0, 0, 0, 0), ("clone newns", 56, 0x00020000 | 17, 0, 0, 0, 0),
    ]  # fmt: skip
    seen = await answers(inside, calls)
    assert set(seen.values()) == {"EPERM"}, seen
    seen_clone3 = await answers(inside, [("clone3", 435, 0, 0)])
    assert seen_clone3 == {"clone3": "ENOSYS"}
    assert "uid=0" not in await inside.sh("unshare -Ur id 2>&1; unshare -m true 2>&1")


async def test_no_process_can_be_traced(inside: Inside) -> None:
    seen = await answers(
        inside,
        [
            ("attach", 101, 16, 1, 0, 0), ("traceme", 101, 0, 0, 0, 0), ("process_vm_readv", 310, 1, 0, 0, 0, 0, 0),
            ("process_vm_writev", 311, 1, 0, 0, 0, 0, 0), ("kcmp", 312, 1, 1, 0, 0, 0), ("pidfd_getfd", 438, 0, 0, 0),
        ],
    )  # fmt: skip
    assert set(seen.values()) == {"EPERM"}, seen


async def test_no_keys(inside: Inside) -> None:
    calls = [
        ("add_key", 248, b"user", b"x", b"y", 1, -3), ("request_key", 249, b"user", b"x", 0, 0),
        ("keyctl", 250, 0, -3, 1),
    ]  # fmt: skip
    seen = await answers(inside, calls)
    assert set(seen.values()) == {"EPERM"}, seen


async def test_privileged_system_calls_bpf_and_io_uring_are_refused(inside: Inside) -> None:
    calls = [
        ("bpf", 321, 0, 0, 0), ("perf_event_open", 298, 0, 0, -1, -1, 0), ("userfaultfd", 323, 0),
        ("io_uring_setup", 425, 1, 0), ("io_uring_enter", 426, 0, 0, 0, 0, 0, 0),
        ("io_uring_register", 427, 0, 0, 0, 0), ("kexec_load", 246, 0, 0, 0, 0),
        ("kexec_file_load", 320, 0, 0, 0, 0, 0), ("init_module", 175, 0, 0, 0), ("finit_module", 313, 0, 0, 0),
        ("delete_module", 176, b"x", 0), ("reboot", 169, 0, 0, 0), ("swapon", 167, b"x", 0),
        ("open_by_handle_at", 304, 0, 0, 0), ("name_to_handle_at", 303, 0, 0, 0, 0, 0), ("acct", 163, 0),
        ("iopl", 172, 3), ("ioperm", 173, 0, 1, 1), ("settimeofday", 164, 0, 0), ("clock_settime", 227, 0, 0),
        ("quotactl", 179, 0, 0, 0, 0), ("fanotify_init", 300, 0, 0), ("modify_ldt", 154, 0, 0, 0),
        ("syslog", 103, 3, 0, 0), ("vmsplice", 278, 0, 0, 0, 0), ("lookup_dcookie", 212, 0, 0, 0),
        ("move_pages", 279, 0, 0, 0, 0, 0, 0), ("memfd_secret", 447, 0),
    ]  # fmt: skip
    seen = await answers(inside, calls)
    assert set(seen.values()) == {"EPERM"}, seen


async def test_calls_of_another_architecture_end_the_process(inside: Inside) -> None:
    """getpid as a 32-bit call (int 0x80) and with an x32 number: the seccomp filter must cover both."""
    code = r"""
import ctypes, mmap, os
def run(machine):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(machine)
    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
for name, machine in (("i386", b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"), ("x32", b"\xb8\x27\x00\x00\x40\x0f\x05\xc3")):
    if os.fork() == 0:
        result = run(machine)
        os._exit(0 if result > 0 else 1)
    print(name, os.waitstatus_to_exitcode(os.wait()[1]))
"""
    seen = await inside.python(code)
    if platform.machine() != "x86_64":
        pytest.skip("machine code of x86_64")
    lines = dict(line.split() for line in seen.strip().split("\n"))
    assert lines["i386"] in ("-31", "-11")  # killed by the filter, or the kernel has no 32-bit calls at all
    assert lines["x32"] in ("1", "-31")  # an error; with libseccomp, which Docker uses, killed


async def test_no_input_can_be_injected_into_a_terminal(inside: Inside) -> None:
    code = (
        "import fcntl, os, termios, struct\n"
        "try: os.open('/dev/tty', os.O_RDWR); print('tty OPEN')\nexcept OSError as e: print('no tty', e.errno)\n"
        "master, slave = os.openpty()\n"
        "for name, request, arg in (('sti', 0x5412, b'x'), ('linux', 0x541C, b'\\x03')):\n"
        "    try: fcntl.ioctl(slave, request, arg); print(name, 'OPEN')\n"
        "    except OSError as e: print(name, e.errno)\n"
    )
    assert (await inside.python(code)).split("\n")[:3] == ["no tty 6", "sti 1", "linux 1"]


async def test_a_daemon_ends_with_its_sandbox(inside: Inside) -> None:
    name = f"daemon-{inside.key.session[-8:]}"
    await inside.sh(
        f"cp /usr/bin/sleep {name}; for i in 1 2 3; do"
        f" setsid -f ./{name} 98765; (setsid ./{name} 98765 &) & done; sleep 0.3"
    )

    def running() -> int:
        found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        return sum(line.startswith(f"./{name} ") for line in found.split("\n"))

    assert running() == 6
    await inside.sandbox.kill("test")
    assert running() == 0


def state(pid: int) -> list[str]:
    """Process state and parent process id, from /proc/PID/stat of the host; `gone` and `0` if there is no process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return ["gone", "0"]


async def test_the_sandbox_ends_when_its_service_is_killed(inside: Inside) -> None:
    """The first process inside dies with bubblewrap, which dies with its parent; here the parent is killed."""
    if inside.is_docker:
        pytest.skip("no process of ours is above a container; tests/integration/docker_driver has what holds there")
    assert await inside.sh("echo alive") == "alive\n"
    pid = inside.first_process
    os.kill(int(state(pid)[1]), signal.SIGKILL)

    async def gone() -> bool:
        return state(pid)[0] in ("Z", "gone")

    await eventually(gone, what="the namespace ends")
