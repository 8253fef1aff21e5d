"""The file tools never leave the workspace, whatever links, pipes and devices it holds."""

import time

import pytest

from tests.escape.conftest import CANARY, Inside, text_of

OUTSIDE = [
    "../../etc/passwd",
    "/etc/passwd",
    "/workspace/../etc/passwd",
    "a/../../etc/passwd",
    "/proc/self/environ",
    "/tmp/x",
]
TOOLS = [
    ("read", {}),
    ("write", {"content": "x"}),
    ("edit", {"old_string": "root", "new_string": "x"}),
]


@pytest.mark.parametrize(("tool", "more"), TOOLS, ids=lambda value: value if isinstance(value, str) else "")
async def test_paths_outside_the_workspace_are_refused(inside: Inside, tool: str, more: dict[str, str]) -> None:
    for path in OUTSIDE:
        outcome = await inside.call(tool, file_path=path, **more)
        assert outcome.is_error
        assert "outside the session's working directory" in text_of(outcome)
    for name in ("glob", "grep"):
        assert (await inside.call(name, pattern="root", path="/etc")).is_error
        assert (await inside.call(name, pattern="root", path="..")).is_error
    assert (await inside.call("glob", pattern="../*")).is_error
    assert (await inside.call("glob", pattern="/etc/*")).is_error


@pytest.mark.parametrize(("tool", "more"), TOOLS, ids=lambda value: value if isinstance(value, str) else "")
async def test_links_that_lead_outside_are_refused(inside: Inside, tool: str, more: dict[str, str]) -> None:
    await inside.sh(
        "ln -s /etc/passwd abs; ln -s ../etc/passwd rel; ln -s /etc dir; ln -s /tmp/new dangling; ln -s / top"
    )
    for path in ("abs", "rel", "dir/passwd", "dangling", "top/etc/passwd", "top/workspace/../etc/passwd"):
        outcome = await inside.call(tool, file_path=path, **more)
        assert outcome.is_error, path
        assert "root:x" not in text_of(outcome)
    assert await inside.sh("ls /tmp") == "(no output)"
    for name in ("glob", "grep"):
        assert "passwd:" not in text_of(await inside.call(name, pattern="root"))
        assert (await inside.call(name, pattern="*", path="dir")).is_error


async def test_a_link_swapped_during_the_open_never_leads_out(inside: Inside) -> None:
    """A process swaps `d` between a folder and a link that leads outside. A read may fail, but stays inside.

    It goes on until both sides of the race were seen often enough: how often they meet depends on the machine.
    """
    await inside.sh(
        f"mkdir real; echo INSIDE > real/hostname; ln -s /etc link; mv real d; echo {CANARY} > /tmp/x;"
        " cat > flip.py <<'X'\n"
        "import ctypes\nl = ctypes.CDLL(None)\n"
        "while True: l.renameat2(-100, b'/workspace/d', -100, b'/workspace/link', 2)\nX\n"
        "python3 flip.py >/dev/null 2>&1 &"
    )
    good = refused = 0
    end = time.monotonic() + 60
    while good <= 10 or refused <= 10 or good + refused < 400:
        assert time.monotonic() < end, (good, refused)
        outcome = await inside.call("read", file_path="d/hostname")
        if outcome.is_error:
            refused += 1
        else:
            assert text_of(outcome) == "INSIDE\n"
            good += 1


async def test_a_link_swapped_many_thousand_times_never_leads_out(inside: Inside) -> None:
    """The same race in one process with the agent's own code: hundreds of thousands of opens, none outside."""
    seen = await inside.python(
        "import os, sys, time\nsys.path.insert(0, '/run/holdfast')\nfrom agent.files import Root\nimport ctypes\n"
        "os.makedirs('race/real'); open('race/real/hostname', 'w').write('INSIDE'); os.symlink('/etc', 'race/link')\n"
        "os.rename('race/real', 'race/d')\n"
        "if (child := os.fork()) == 0:\n    l = ctypes.CDLL(None)\n"
        "    while True: l.renameat2(-100, b'/workspace/race/d', -100, b'/workspace/race/link', 2)\n"
        "root = Root('/workspace'); end = time.time() + 3; tries = leaks = good = 0\n"
        "while time.time() < end:\n    tries += 1\n    try: fd = root.open('race/d/hostname', os.O_RDONLY)\n"
        "    except OSError: continue\n"
        "    data = os.read(fd, 100); os.close(fd); good += data == b'INSIDE'; leaks += data != b'INSIDE'\n"
        "os.kill(child, 9); print(tries, good, leaks)\n"
    )
    tries, good, leaks = map(int, seen.split())
    assert leaks == 0
    assert good > 100
    assert tries > good


async def test_links_of_proc_are_refused(inside: Inside) -> None:
    await inside.sh(
        "ln -s /proc/self/root r; ln -s /proc/self/fd fds; ln -s /proc/self/cwd cwd; ln -s /proc/1/root one"
    )
    for path in (
        "r/etc/passwd",
        "fds/0",
        "cwd/x",
        "one/etc/passwd",
        "/proc/self" + "/root" + "/etc/passwd",
        "/dev/fd/0",
    ):
        outcome = await inside.call("read", file_path=path)
        assert outcome.is_error, path


async def test_pipes_and_devices_are_refused_at_once(inside: Inside) -> None:
    await inside.sh(
        "mkfifo fifo; ln -s /dev/zero zero; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('sock')\";"
        " mknod dev c 1 5 2>&1 | grep -c 'not permitted'"
    )
    for path in ("fifo", "sock", "zero", "/dev/zero", "."):
        for tool, more in TOOLS:
            outcome = await inside.call(tool, file_path=path, **more)
            assert outcome.is_error, (tool, path)
    assert text_of(await inside.call("grep", pattern="x")) == "no matches"
    assert (await inside.call("grep", pattern="x", path="fifo")).is_error


async def test_a_file_that_grows_while_it_is_read_is_bounded(inside: Inside) -> None:
    await inside.sh("(while true; do head -c 1M /dev/zero | tr '\\0' 'a' >> grows; sleep 0.01; done) >/dev/null 2>&1 &")
    for _ in range(5):
        assert len(text_of(await inside.call("read", file_path="grows"))) < 300_000
    await inside.sh("kill $!")
