"""The processes that run file tools inside a real sandbox: used again, killed, replaced, and without memory of a call.

A test knows a helper by its process id: a child of the agent (process 1) that runs the agent's program.
"""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from holdfast.sandbox.agent.file_calls import IDLE_HELPERS
from holdfast.sandbox.agent.helper import CALLS
from holdfast.sandbox.drivers import Outcome
from holdfast.sandbox.settings import MIB
from tests.support.isolation import Isolation
from tests.support.sandbox_tools import Tools, new_tools, text_of

HELPERS = (
    'for p in /proc/[0-9]*; do tr "\\0" " " 2>/dev/null < $p/cmdline | grep -q agent.main'
    ' && grep -q "^PPid:.1$" $p/status && echo ${p#/proc/}; done; true'
)

KILLED = "it was killed, most likely for want of memory"


@pytest.fixture
async def tools(tmp_path: Path, isolation: Isolation) -> AsyncIterator[Tools]:
    async with new_tools(tmp_path, memory_bytes=256 * MIB, call_timeout=30) as made:
        await made.call("bash", command="echo content > file; echo " + "a" * 40 + " > slow")
        yield made


async def helpers(tools: Tools) -> list[str]:
    text = await tools.sh(HELPERS)
    return [] if text == "(no output)" else text.split()


async def only_helper(tools: Tools) -> str:
    (pid,) = await helpers(tools)
    return pid


def endless_search(tools: Tools, call: str = "endless") -> asyncio.Task[Outcome]:
    """A search that takes for ever."""
    return asyncio.create_task(tools.sandbox.run(call, "grep", {"pattern": "(a|aa)+$(b)", "path": "slow"}))


async def busy(tools: Tools, count: int) -> list[str]:
    """Wait until there are so many helpers. Returns their ids."""
    async with asyncio.timeout(20):
        while len(found := await helpers(tools)) != count:
            pass
    return found


async def test_two_hundred_calls_use_one_helper_which_the_first_has_started(tools: Tools) -> None:
    assert await helpers(tools) == []
    assert await tools.text("read", file_path="file") == "content\n"
    first = await only_helper(tools)
    for n in range(50):
        assert await tools.text("write", file_path="n", content=str(n)) == f"wrote {len(str(n))} bytes to n"
        assert await tools.text("edit", file_path="n", old_string=str(n), new_string="x")
        assert await tools.text("read", file_path="n") == "x"
        assert (await tools.call("read", file_path="none")).is_error
    assert await only_helper(tools) == first


async def test_after_many_calls_a_helper_is_replaced(tools: Tools) -> None:
    await tools.call("read", file_path="file")
    first = await only_helper(tools)
    for _ in range(CALLS - 2):
        await tools.call("read", file_path="file")
    assert await only_helper(tools) == first
    for _ in range(2):
        assert await tools.text("read", file_path="file") == "content\n"
    assert first not in await helpers(tools)  # the other one may have ended already: a large call makes it grow


async def test_the_time_limit_ends_a_call_with_its_helper_and_the_next_call_works(
    tmp_path: Path, isolation: Isolation
) -> None:
    async with new_tools(tmp_path, call_timeout=1) as tools:
        await tools.call("bash", command="echo " + "a" * 40 + " > slow")
        await tools.call("read", file_path="slow")
        first = await only_helper(tools)
        began = time.monotonic()
        outcome = await endless_search(tools)
        assert 1 <= time.monotonic() - began < 3
        assert outcome.is_error
        assert text_of(outcome) == "grep: stopped: timed out after 1 s"
        assert await helpers(tools) == []
        assert await tools.text("read", file_path="slow") == "a" * 40 + "\n"
        assert first not in await helpers(tools)  # the other one may have ended already: a large call makes it grow


async def test_a_helper_that_was_killed_while_it_waited_is_replaced_without_an_error(tools: Tools) -> None:
    for _ in range(20):
        assert await tools.text("read", file_path="file") == "content\n"
        await tools.sh(f"kill -9 {await only_helper(tools)}")


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_a_helper_that_was_killed_before_it_read_its_call_is_replaced_without_an_error(
    tools: Tools, size: int
) -> None:
    """It is stopped, so that the call lies unread in its socket when it is killed; a large call does not fit there."""
    await tools.call("read", file_path="file")
    first = await only_helper(tools)
    await tools.sh(f"kill -STOP {first}")
    writing = asyncio.create_task(tools.call("write", file_path="new", content="x" * size))
    await tools.sh(f"sleep 0.2; kill -9 {first}")
    outcome = await writing
    assert not outcome.is_error, outcome
    assert await tools.sh("wc -c < new") == f"{size}\n"
    assert first not in await helpers(tools)  # the other one may have ended already: a large call makes it grow


async def test_a_helper_that_is_killed_in_a_call_is_one_failed_call(tools: Tools) -> None:
    await tools.call("read", file_path="file")
    first = await only_helper(tools)
    search = endless_search(tools)
    await tools.sh(f"sleep 0.3; kill -9 {first}")
    outcome = await search
    assert outcome.is_error
    assert text_of(outcome) == f"grep: stopped: {KILLED}"
    assert await tools.text("read", file_path="file") == "content\n"


async def test_a_cancel_ends_its_call_only(tools: Tools) -> None:
    one, two = endless_search(tools, "one"), endless_search(tools, "two")
    await busy(tools, 2)
    await tools.sandbox.cancel("one")
    assert text_of(await one) == "grep: stopped: cancelled"
    assert not two.done()
    await tools.sandbox.cancel("two")
    assert text_of(await two) == "grep: stopped: cancelled"
    assert await tools.text("read", file_path="file") == "content\n"


async def test_calls_run_side_by_side_and_few_of_their_helpers_are_kept(tools: Tools) -> None:
    searches = [endless_search(tools, f"search_{n}") for n in range(7)]
    await busy(tools, 7)
    assert await tools.text("read", file_path="file") == "content\n"
    texts = await asyncio.gather(*[tools.text("read", file_path="file") for _ in range(20)])
    assert texts == ["content\n"] * 20
    assert not any(search.done() for search in searches)
    for n, search in enumerate(searches):
        await tools.sandbox.cancel(f"search_{n}")
        assert (await search).is_error
    assert 1 <= len(await helpers(tools)) <= IDLE_HELPERS


async def test_a_call_that_takes_all_memory_hurts_its_helper_only(tools: Tools) -> None:
    await tools.sh("kept=yes; head -c 200000 /dev/zero | tr '\\0' a > many")
    for _ in range(2):
        outcome = await tools.call("edit", file_path="many", old_string="a", new_string="b" * 3000, replace_all=True)
        assert outcome.is_error
        assert text_of(outcome) in ("edit: out of memory", f"edit: stopped: {KILLED}")
    assert await tools.sh("echo $kept; wc -c < many") == "yes\n200000\n"
    assert await tools.text("read", file_path="file") == "content\n"


async def test_a_helper_that_has_grown_in_a_call_is_replaced(tools: Tools) -> None:
    await tools.call("read", file_path="file")
    assert len(await helpers(tools)) == 1
    await tools.sh("(printf %%PDF-1.7; head -c 15M /dev/urandom) > doc.pdf")
    assert not (await tools.call("read", file_path="doc.pdf")).is_error
    assert await helpers(tools) == []
    assert await tools.text("read", file_path="file") == "content\n"


async def test_nothing_of_a_call_stays_in_its_helper(tools: Tools) -> None:
    await tools.call("read", file_path="file")
    pid = await only_helper(tools)
    state = f"cd /proc/{pid}; for fd in fd/*; do echo $fd $(readlink $fd); done; readlink cwd; grep ^Umask status"
    before = await tools.sh(state)
    await tools.sh("cd /workspace; mkdir -p a/b; mkfifo fifo; umask 077; ln -s /etc link; echo text | tee a/b/1 a/2")
    for _ in range(3):
        for name, arguments in (
            ("read", {"file_path": "none"}), ("read", {"file_path": "fifo"}), ("read", {"file_path": "a"}),
            ("read", {"file_path": "link/passwd"}), ("read", {"file_path": "file", "view_range": [1]}),
            ("read", {"nothing": 1}), ("write", {"file_path": "a/c/d", "content": "x"}),
            ("edit", {"file_path": "a/2", "old_string": "none", "new_string": ""}), ("glob", {"pattern": "**"}),
            ("glob", {"pattern": "*", "path": "none"}), ("grep", {"pattern": "tex"}), ("grep", {"pattern": "("}),
            ("grep", {"pattern": "x", "path": "fifo"}), ("grep", {"pattern": ".", "path": "a"}),
        ):  # fmt: skip
            await tools.call(name, **arguments)
    assert await only_helper(tools) == pid
    assert await tools.sh(f"({state})") == before
    assert await tools.sh("stat -c '%a %u' a/c/d") == "644 1000\n", "the umask of the shell is its own"


def id_inside(process: psutil.Process) -> str:
    """The process id that the process has in its innermost namespace; empty if it has ended."""
    with contextlib.suppress(OSError):
        (ids,) = re.findall(r"^NSpid:(.*)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        return ids.split()[-1] if len(ids.split()) > 1 else ""
    return ""


def agent_of(process: psutil.Process) -> int:
    """Id on the host of the agent above the process, which is the first process of its sandbox; 0: there is none."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return next((one.pid for one in process.parents() if id_inside(one) == "1"), 0)
    return 0


def is_in(process: psutil.Process, space: str) -> bool:
    """Whether it is in that namespace of processes. False as well for one that forbids to look."""
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{process.pid}/ns/pid").readlink()) == space
    return False


def descriptors_from_outside(space: str, own: str) -> list[str]:
    """What the process with this id in that namespace of processes has open. Inside nobody may look."""
    children = psutil.Process().children(recursive=True)
    agents = {agent_of(process) for process in children if is_in(process, space)} - {0}
    (helper,) = [process.pid for process in children if id_inside(process) == own and agent_of(process) in agents]
    return [str(link.readlink()) for link in Path(f"/proc/{helper}/fd").iterdir()]


async def test_a_helper_holds_no_stream_of_the_agent(tools: Tools) -> None:
    await tools.call("read", file_path="file")
    own = await only_helper(tools)
    space = await tools.sh("readlink /proc/self/ns/pid")
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):  # the agent and its helpers forbid inspection
            descriptors_from_outside(space.strip(), own)
        return
    links = descriptors_from_outside(space.strip(), own)
    assert len([link for link in links if link.startswith("socket:")]) == 1
    assert not [link for link in links if link.startswith("pipe:")]
    assert len(links) == 6, "/dev/null three times, its statistics, the workspace and the socket"


async def test_a_restart_of_the_shell_spares_the_helpers(tools: Tools) -> None:
    await tools.call("read", file_path="file")
    first = await only_helper(tools)
    search = endless_search(tools)
    await asyncio.sleep(0)
    assert await tools.text("bash", restart=True) == "bash session restarted"
    assert first in await helpers(tools)
    assert not search.done()
    await tools.sandbox.cancel("endless")
    assert text_of(await search) == "grep: stopped: cancelled"


async def test_a_helper_that_waits_works_where_no_process_can_be_started(tmp_path: Path, isolation: Isolation) -> None:
    async with new_tools(tmp_path, pids=24, call_timeout=10) as tools:
        await tools.call("write", file_path="many.py", content=(
            "import os, time\ntry:\n    for _ in range(40):\n        if not os.fork(): break\n"
            "except OSError: pass\ntime.sleep(99)\n"
        ))  # fmt: skip
        await tools.call("bash", command="python3 many.py >/dev/null 2>&1 & sleep 1", timeout_ms=3000)
        for _ in range(3):
            assert (await tools.text("read", file_path="many.py")).startswith("import os")
