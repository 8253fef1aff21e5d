"""A sandbox cannot use up processes, memory, disk, open files, output or processor time of its host."""

import pytest

from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers import SandboxLost
from holdfast.sandbox.drivers.bubblewrap import hierarchy
from holdfast.sandbox.drivers.hand_spec import HandSpec
from tests.escape.conftest import Inside, MakeSandbox, text_of
from tests.support.eventually import eventually
from tests.support.isolation import Isolation


async def test_a_fork_bomb_ends_and_the_sandbox_goes_on(inside: Inside) -> None:
    outcome = await inside.call("bash", command=":(){ :|:& };:; sleep 30", timeout_ms=2000)
    assert outcome.is_error
    assert await inside.sh("echo alive") == "alive\n"
    code = (
        "import os, signal\nsignal.signal(1, signal.SIG_IGN)\nwhile True:\n  try: os.fork()\n  except OSError: pass\n"
    )
    await inside.call("write", file_path="bomb.py", content=code)
    outcome = await inside.call("bash", command="python3 bomb.py", timeout_ms=2000)
    assert outcome.is_error
    seen = await inside.sh("echo alive; ls /proc | grep -c '^[0-9]'")
    assert seen.startswith("alive\n")
    assert int(seen.split()[1]) < 50


async def test_a_fork_bomb_is_ended_long_before_its_time_limit(inside: Inside, isolation: Isolation) -> None:
    """The host waits for it. The model is told why, and what the shell has exported is kept.

    The shell itself may end: bash gives up if a signal comes while it waits to try a fork again. The model is told.
    """
    if isolation.weak:
        pytest.skip("nobody counts the processes of a sandbox here")
    await inside.sh("export kept=yes")
    code = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass\n"
    await inside.call("write", file_path="bomb.py", content=code)
    outcome = await inside.call("bash", command="python3 bomb.py", timeout_ms=60_000)
    assert outcome.is_error
    assert "started others, beyond the limit of this sandbox" in text_of(outcome)
    assert await inside.sh("echo $kept") == "yes\n"
    told = [await inside.sh("python3 bomb.py >/dev/null 2>&1 &")]

    async def is_told() -> bool:
        told.append(await inside.sh("sleep 0.05"))
        return "beyond the limit of this sandbox" in "".join(told)

    await eventually(is_told, within=20, what="the bomb in the background ended")
    for _ in range(20):  # nor are the next commands blamed for it
        said = await inside.sh("sleep 0.02; echo $kept")
        assert said.endswith("yes\n")  # bash may say first that the bomb was killed
        assert "ended" not in said
    assert int(await inside.sh("ls -d /proc/[0-9]* | wc -l")) < 10


async def test_tools_work_again_after_background_processes_have_reached_the_limit(inside: Inside) -> None:
    await inside.call(
        "write", file_path="many.py", content="import os, time\nfor _ in range(40): os.fork()\ntime.sleep(99)\n"
    )
    await inside.call("bash", command="python3 many.py >/dev/null 2>&1 & sleep 1", timeout_ms=3000)
    crowded = text_of(await inside.call("read", file_path="many.py"))
    assert crowded.startswith("import os") or "as many as it may" in crowded
    await inside.sh("exit 3")
    assert await inside.sh("echo alive") == "alive\n"
    await inside.call("bash", restart=True)
    assert text_of(await inside.call("read", file_path="many.py")).startswith("import os")


async def test_a_process_with_too_much_memory_dies_and_the_agent_does_not(inside: Inside, isolation: Isolation) -> None:
    outcome = await inside.call("bash", command="python3 -c 'x = bytearray(600 << 20)'; echo code $?")
    # A control group kills a process that uses too much memory. RLIMIT_DATA makes the allocation fail instead.
    assert ("MemoryError" if isolation.weak else "code 137") in outcome.content[0]["text"]
    assert await inside.sh("echo $((6 * 7))") == "42\n"
    assert "/tmp" in await inside.sh(
        "for f in /tmp/fill /dev/shm/fill; do head -c 100M /dev/zero > $f; ls $f; rm -f $f; done"
    )
    assert await inside.sh("echo $((6 * 7))") == "42\n"


@pytest.mark.usefixtures("strong_limits")
async def test_the_memory_limit_holds_for_all_processes_together(inside: Inside) -> None:
    """Eight processes, each far below the limit. None ends by itself, so the one that ended was killed."""
    code = (
        "import os\ngo, tell = os.pipe()\nfor _ in range(8):\n  if os.fork() == 0:\n    os.close(tell)\n"
        "    x = b'x' * (60 << 20)\n    os.read(go, 1)\n    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    assert await inside.python(code) == "-9\n"
    assert await inside.sh("echo $((6 * 7))") == "42\n"


async def test_the_size_of_a_file_is_limited(inside: Inside) -> None:
    # Sparse files: they take no disk space, so the limit of the workspace, which is the same, is not reached.
    seen = await inside.sh("truncate -s 60M f; stat -c %s f; truncate -s 200M f; stat -c %s f; rm f")
    sizes = [int(line) for line in seen.splitlines() if line.isdecimal()]
    assert sizes == [60 << 20, 60 << 20], seen
    assert int(await inside.sh("df /tmp | tail -1 | awk '{print $2}'")) <= 16 << 10


async def test_a_workspace_over_its_limit_ends_the_sandbox_and_the_error_says_why(inside: Inside) -> None:
    with pytest.raises(SandboxLost) as lost:
        await inside.sh("i=0; while true; do i=$((i+1)); head -c 4M /dev/urandom > f$i; done", timeout_ms=60_000)
    assert "limit of" in lost.value.reason
    assert "MiB" in lost.value.reason
    used = sum(file.stat().st_size for file in inside.workspace.iterdir() if file.is_file())
    assert used < (64 << 20) * 8
    # The files are kept, and the next sandbox can delete them.
    again = await inside.driver.create(HandSpec(key=inside.key, kind=SANDBOX, generation="sbx_again"))
    outcome = await again.run("x", "bash", {"command": "rm -f f*; echo tidy; sleep 1"})
    assert outcome.content[0]["text"].startswith("tidy\n")


async def test_many_small_files_end_the_sandbox(inside: Inside) -> None:
    with pytest.raises(SandboxLost) as lost:
        await inside.python(
            "import os\ni = 0\nwhile True:\n    os.mkdir(f'd{i}')\n"
            "    for k in range(100): open(f'd{i}/{k}', 'w').close()\n    i += 1\n"
        )
    assert "3000 files" in lost.value.reason


async def test_too_deeply_nested_folders_end_the_sandbox(inside: Inside) -> None:
    with pytest.raises(SandboxLost) as lost:
        await inside.sh("for i in $(seq 300); do mkdir d; cd d; done; sleep 25", timeout_ms=29_000)
    assert "nested" in lost.value.reason
    # The files are kept, and the next sandbox can delete them: it is measured at its start, and after 5 s.
    again = await inside.driver.create(HandSpec(key=inside.key, kind=SANDBOX, generation="sbx_again"))
    outcome = await again.run("x", "bash", {"command": "sleep 7; rm -rf d; ls; echo tidy"})
    assert outcome.content[0]["text"].startswith("tidy\n")
    await inside.driver.remove_files(inside.key)
    assert not inside.workspace.exists()


async def test_open_files_are_limited_to_512(inside: Inside) -> None:
    code = (
        "import errno\nfiles = []\ntry:\n    while True: files.append(open('/dev/null'))\n"
        "except OSError as e: print(len(files) <= 512, errno.errorcode[e.errno])\n"
    )
    assert await inside.python(code) == "True EMFILE\n"
    assert await inside.sh("ulimit -n; ulimit -c; ulimit -Hn") == "512\n0\n512\n"


async def test_output_is_truncated_in_the_sandbox_and_the_agent_needs_little_memory(inside: Inside) -> None:
    outcome = await inside.call(
        "bash", command="head -c 300M /dev/zero | tr '\\0' 'x'; echo; echo end", timeout_ms=60_000
    )
    text = outcome.content[0]["text"]
    assert len(text) < 100_000
    assert text.endswith("end\n")
    assert "left out here" in text
    agent = await inside.sh("grep -h VmHWM /proc/1/status | awk '{print $2}'")
    assert int(agent) < 60_000, "kB of the agent at most"
    assert await inside.sh("du -sk /workspace/.holdfast/outputs | cut -f1 | awk '{print ($1 < 20000)}'") == "1\n"


@pytest.mark.usefixtures("strong_limits")
async def test_the_processor_limit_holds_for_all_processes_together(inside: Inside) -> None:
    """Two busy processes together get the one processor that the settings allow.

    Each process writes its line with one `os.write`. An unbuffered `print` makes two writes, text and line end, and
    both processes write at the same time.
    """
    seen = await inside.python(
        "import os, time\nchild = os.fork()\nt = time.time(); c = time.process_time()\n"
        "while time.time() - t < 1.5: pass\nos.write(1, b'%f\\n' % (time.process_time() - c))\n"
        "if child: os.waitpid(child, 0)\n"
    )
    used = [float(line) for line in seen.splitlines()]
    assert len(used) == 2, seen
    assert 0 < sum(used) < 2.2, "seconds of processor time within 1.5 s; without the limit 3"


async def test_what_a_host_has_for_all_of_its_user_cannot_be_used_up(make: MakeSandbox) -> None:
    """Asynchronous I/O contexts are counted for the whole host, inotify instances and watches for each user."""
    one, other = await make(), await make()
    if one.is_docker:
        pytest.skip("not limited: its sandboxes have no user namespace of their own (services/sandbox/README.md)")
    code = (
        "import ctypes, errno, os\nlibc = ctypes.CDLL(None, use_errno=True)\ncontext = ctypes.c_ulong()\n"
        "number = 206 if os.uname().machine == 'x86_64' else 0\n"
        "print(libc.syscall(number, 128, ctypes.byref(context)), errno.errorcode[ctypes.get_errno()])\n"
        "found, last = 0, 0\n"
        "while (fd := libc.inotify_init()) >= 0: found, last = found + 1, fd\n"
        "print(found, errno.errorcode[ctypes.get_errno()])\n"
        "for n in range(9000): os.mknod(f'/tmp/{n}')\n"
        "watched = [libc.inotify_add_watch(last, b'/tmp/%d' % n, 2) > 0 for n in range(9000)]\n"
        "print(sum(watched), errno.errorcode[ctypes.get_errno()], flush=True)\n"
        "open('done', 'w')\nimport time; time.sleep(99)\n"
    )
    await one.call("write", file_path="take.py", content=code)
    assert await one.sh("python3 take.py > out & until [ -e done ]; do sleep 0.02; done; cat out") == (
        "-1 ENOSYS\n16 EMFILE\n8192 ENOSPC\n"
    )
    watch = "libc = ctypes.CDLL(None)\nprint(libc.inotify_add_watch(libc.inotify_init(), b'/workspace', 2) > 0)\n"
    assert await other.python(f"import ctypes\n{watch}") == "True\n"


@pytest.mark.usefixtures("strong_limits")
async def test_a_sandbox_that_computes_gives_way_to_the_others(make: MakeSandbox) -> None:
    """Its control group has little weight, and its full weight again once it has rested."""
    busy, other = await make(), await make()
    full = weights(other)
    if not full:
        pytest.skip("processor time is not limited here")

    async def is_behind() -> bool:
        return weights(busy)[0] * 10 <= weights(other)[0]

    async def is_in_front() -> bool:
        return weights(busy) == full

    await busy.sh("(while :; do :; done) & echo started")
    await eventually(is_behind, within=20, what="the busy sandbox behind the others")
    await other.sh("echo on")
    assert weights(other) == full
    await busy.sh("kill $!")
    await eventually(is_in_front, within=40, what="it in front again")


def weights(inside: Inside) -> list[int]:
    """The weight of the control group of the sandbox; empty if processor time is not limited."""
    root = hierarchy.of_process(inside.first_process).roots.get("cpu")
    files = [root / f"cpu.{kind}" for kind in ("shares", "weight")] if root else []
    return [int(file.read_text()) for file in files if file.exists()]
