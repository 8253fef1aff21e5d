"""The processes that run file tools inside a real sandbox: used again, killed, replaced, and without memory of a call.

A test knows a helper by its process id: a child of the agent (process 2) that runs the agent's program.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.sandbox.agent.file_calls import IDLE_HELPERS
from holdfast.sandbox.agent.helper import CALLS
from holdfast.sandbox.drivers import Outcome
from holdfast.sandbox.settings import MIB
from tests.support.hands import Hands, new_hands, text_of
from tests.support.isolation import Isolation

HELPERS = (
    'for p in /proc/[0-9]*; do tr "\\0" " " 2>/dev/null < $p/cmdline | grep -q agent.main'
    ' && grep -q "^PPid:.2$" $p/status && echo ${p#/proc/}; done; true'
)

KILLED = "it was killed, most likely for want of memory"


@pytest.fixture
async def hands(tmp_path: Path, isolation: Isolation) -> AsyncIterator[Hands]:
    async with new_hands(tmp_path, memory_bytes=256 * MIB, call_timeout=30) as made:
        await made.call("bash", command="echo content > file; echo " + "a" * 40 + " > slow")
        yield made


async def helpers(hands: Hands) -> list[str]:
    text = await hands.sh(HELPERS)
    return [] if text == "(no output)" else text.split()


async def only_helper(hands: Hands) -> str:
    (pid,) = await helpers(hands)
    return pid


def endless_search(hands: Hands, call: str = "endless") -> asyncio.Task[Outcome]:
    """A search that takes for ever."""
    return asyncio.create_task(hands.box.run(call, "grep", {"pattern": "(a|aa)+$(b)", "path": "slow"}))


async def busy(hands: Hands, count: int) -> list[str]:
    """Wait until there are so many helpers. Returns their ids."""
    async with asyncio.timeout(20):
        while len(found := await helpers(hands)) != count:
            pass
    return found


async def test_two_hundred_calls_use_one_helper_which_the_first_has_started(hands: Hands) -> None:
    assert await helpers(hands) == []
    assert await hands.text("read", file_path="file") == "content\n"
    first = await only_helper(hands)
    for n in range(50):
        assert await hands.text("write", file_path="n", content=str(n)) == f"wrote {len(str(n))} bytes to n"
        assert await hands.text("edit", file_path="n", old_string=str(n), new_string="x")
        assert await hands.text("read", file_path="n") == "x"
        assert (await hands.call("read", file_path="none")).is_error
    assert await only_helper(hands) == first


async def test_after_many_calls_a_helper_is_replaced(hands: Hands) -> None:
    await hands.call("read", file_path="file")
    first = await only_helper(hands)
    for _ in range(CALLS - 2):
        await hands.call("read", file_path="file")
    assert await only_helper(hands) == first
    for _ in range(2):
        assert await hands.text("read", file_path="file") == "content\n"
    assert await only_helper(hands) != first


async def test_the_time_limit_ends_a_call_with_its_helper_and_the_next_call_works(
    tmp_path: Path, isolation: Isolation
) -> None:
    async with new_hands(tmp_path, call_timeout=1) as hands:
        await hands.call("bash", command="echo " + "a" * 40 + " > slow")
        await hands.call("read", file_path="slow")
        first = await only_helper(hands)
        began = time.monotonic()
        outcome = await endless_search(hands)
        assert 1 <= time.monotonic() - began < 3
        assert outcome.is_error
        assert text_of(outcome) == "grep: stopped: timed out after 1 s"
        assert await helpers(hands) == []
        assert await hands.text("read", file_path="slow") == "a" * 40 + "\n"
        assert await only_helper(hands) != first


async def test_a_helper_that_was_killed_while_it_waited_is_replaced_without_an_error(hands: Hands) -> None:
    for _ in range(20):
        assert await hands.text("read", file_path="file") == "content\n"
        await hands.sh(f"kill -9 {await only_helper(hands)}")


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_a_helper_that_was_killed_before_it_read_its_call_is_replaced_without_an_error(
    hands: Hands, size: int
) -> None:
    """It is stopped, so that the call lies unread in its socket when it is killed; a large call does not fit there."""
    await hands.call("read", file_path="file")
    first = await only_helper(hands)
    await hands.sh(f"kill -STOP {first}")
    writing = asyncio.create_task(hands.call("write", file_path="new", content="x" * size))
    await hands.sh(f"sleep 0.2; kill -9 {first}")
    outcome = await writing
    assert not outcome.is_error, outcome
    assert await hands.sh("wc -c < new") == f"{size}\n"
    assert await only_helper(hands) != first


async def test_a_helper_that_is_killed_in_a_call_is_one_failed_call(hands: Hands) -> None:
    await hands.call("read", file_path="file")
    first = await only_helper(hands)
    search = endless_search(hands)
    await hands.sh(f"sleep 0.3; kill -9 {first}")
    outcome = await search
    assert outcome.is_error
    assert text_of(outcome) == f"grep: stopped: {KILLED}"
    assert await hands.text("read", file_path="file") == "content\n"


async def test_a_cancel_ends_its_call_only(hands: Hands) -> None:
    one, two = endless_search(hands, "one"), endless_search(hands, "two")
    await busy(hands, 2)
    await hands.box.cancel("one")
    assert text_of(await one) == "grep: stopped: cancelled"
    assert not two.done()
    await hands.box.cancel("two")
    assert text_of(await two) == "grep: stopped: cancelled"
    assert await hands.text("read", file_path="file") == "content\n"


async def test_calls_run_side_by_side_and_few_of_their_helpers_are_kept(hands: Hands) -> None:
    searches = [endless_search(hands, f"search_{n}") for n in range(7)]
    await busy(hands, 7)
    assert await hands.text("read", file_path="file") == "content\n"
    texts = await asyncio.gather(*[hands.text("read", file_path="file") for _ in range(20)])
    assert texts == ["content\n"] * 20
    assert not any(search.done() for search in searches)
    for n, search in enumerate(searches):
        await hands.box.cancel(f"search_{n}")
        assert (await search).is_error
    assert 1 <= len(await helpers(hands)) <= IDLE_HELPERS


async def test_a_call_that_takes_all_memory_hurts_its_helper_only(hands: Hands) -> None:
    await hands.sh("kept=yes; head -c 200000 /dev/zero | tr '\\0' a > many")
    for _ in range(2):
        outcome = await hands.call("edit", file_path="many", old_string="a", new_string="b" * 3000, replace_all=True)
        assert outcome.is_error
        assert text_of(outcome) in ("edit: out of memory", f"edit: stopped: {KILLED}")
    assert await hands.sh("echo $kept; wc -c < many") == "yes\n200000\n"
    assert await hands.text("read", file_path="file") == "content\n"


async def test_a_helper_that_has_grown_in_a_call_is_replaced(hands: Hands) -> None:
    await hands.call("read", file_path="file")
    assert len(await helpers(hands)) == 1
    await hands.sh("head -c 15M /dev/urandom > doc.pdf")
    assert not (await hands.call("read", file_path="doc.pdf")).is_error
    assert await helpers(hands) == []
    assert await hands.text("read", file_path="file") == "content\n"


async def test_nothing_of_a_call_stays_in_its_helper(hands: Hands) -> None:
    await hands.call("read", file_path="file")
    pid = await only_helper(hands)
    state = f"cd /proc/{pid}; for fd in fd/*; do echo $fd $(readlink $fd); done; readlink cwd; grep ^Umask status"
    before = await hands.sh(state)
    await hands.sh("cd /workspace; mkdir -p a/b; mkfifo fifo; umask 077; ln -s /etc link; echo text | tee a/b/1 a/2")
    for _ in range(3):
        for name, arguments in (
            ("read", {"file_path": "none"}), ("read", {"file_path": "fifo"}), ("read", {"file_path": "a"}),
            ("read", {"file_path": "link/passwd"}), ("read", {"file_path": "file", "view_range": [1]}),
            ("read", {"nothing": 1}), ("write", {"file_path": "a/c/d", "content": "x"}),
            ("edit", {"file_path": "a/2", "old_string": "none", "new_string": ""}), ("glob", {"pattern": "**"}),
            ("glob", {"pattern": "*", "path": "none"}), ("grep", {"pattern": "tex"}), ("grep", {"pattern": "("}),
            ("grep", {"pattern": "x", "path": "fifo"}), ("grep", {"pattern": ".", "path": "a"}),
        ):  # fmt: skip
            await hands.call(name, **arguments)
    assert await only_helper(hands) == pid
    assert await hands.sh(f"({state})") == before
    assert await hands.sh("stat -c '%a %u' a/c/d") == "644 1000\n", "the umask of the shell is its own"


async def test_a_helper_holds_no_stream_of_the_agent(hands: Hands) -> None:
    await hands.call("read", file_path="file")
    links = await hands.sh(f"cd /proc/{await only_helper(hands)}/fd; readlink * | sed 's/[0-9]*//g' | sort")
    pid = "/proc//statm"
    assert links.split() == sorted([*["/dev/null"] * 3, pid, "/workspace", "socket:[]"])


async def test_a_restart_of_the_shell_spares_the_helpers(hands: Hands) -> None:
    await hands.call("read", file_path="file")
    first = await only_helper(hands)
    search = endless_search(hands)
    await asyncio.sleep(0)
    assert await hands.text("bash", restart=True) == "bash session restarted"
    assert first in await helpers(hands)
    assert not search.done()
    await hands.box.cancel("endless")
    assert text_of(await search) == "grep: stopped: cancelled"


async def test_a_helper_that_waits_works_where_no_process_can_be_started(tmp_path: Path, isolation: Isolation) -> None:
    async with new_hands(tmp_path, pids=24, call_timeout=10) as hands:
        await hands.call("write", file_path="many.py", content=(
            "import os, time\ntry:\n    for _ in range(40):\n        if not os.fork(): break\n"
            "except OSError: pass\ntime.sleep(99)\n"
        ))  # fmt: skip
        await hands.call("bash", command="python3 many.py >/dev/null 2>&1 & sleep 1", timeout_ms=3000)
        for _ in range(3):
            assert (await hands.text("read", file_path="many.py")).startswith("import os")
