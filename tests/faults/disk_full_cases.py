"""A full disk under a stack. `test_disk_full.py` runs these tests in a mount namespace of their own."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from anthropic import APIStatusError

from holdfast.process import disk
from holdfast.session.log.readmodel import ReadModel
from tests.faults.conftest import Start
from tests.support.conversation import Conversation, results
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants, journaled
from tests.support.model import bash, say
from tests.support.stack import Stack

HOLDFAST = str(Path(sys.executable).parent / "holdfast")
SIZE = "600m"
RESERVE = {"HOLDFAST_DISK_RESERVE_BYTES": "0"}
"""No reserve: by default sandboxes are killed below a free space that is larger than this disk."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The data folder of the stack, on a disk of its own."""
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "holdfast-test", str(data)], check=True)
    # The tests read the output of `holdfast up`, so it must not be written to the full disk.
    (data / "up.log").symlink_to(tmp_path / "up.log")
    yield data
    subprocess.run(["umount", "--lazy", str(data)], check=True)


def fill(data: Path, *, leave: int = 0) -> Path:
    """Fill the disk with one file until `leave` bytes are free. Returns the file."""
    path = data / "filling"
    if leave:
        with path.open("wb", buffering=0) as file:
            while disk.space(data).free > leave:
                file.write(b"0" * 65536)
        return path
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"0" * 65536)
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"0" * 512)
    return path


async def holdfast(*arguments: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    process = await asyncio.create_subprocess_exec(
        HOLDFAST, *arguments, env={"PATH": "/usr/bin"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def said(stack: Stack, text: str, *, count: int = 1, within: float = 20) -> None:
    """Wait until `holdfast up` has printed `text` `count` times."""

    async def look() -> bool:
        return stack.log.read_text().count(text) >= count

    try:
        await eventually(look, what=repr(text), within=within)
    except AssertionError as exc:
        raise AssertionError(f"{exc} in:\n{stack.log.read_text()[-2000:]}") from None


async def refused(conversation: Conversation, mark: str) -> APIStatusError:
    """Send a message and check that it is refused within 5 s."""
    began = time.monotonic()
    with pytest.raises(APIStatusError) as caught:
        await conversation.say(mark)
    assert time.monotonic() - began < 5, "it was not refused at once"
    return caught.value


async def test_a_turn_on_a_full_disk_goes_on_when_there_is_room_again(small_disk: Path, start: Start) -> None:
    stack = start(environ=RESERVE)
    supervisor = stack.run.supervisor
    mark = await stack.model.play(
        journaled("one"),
        {"text": "I think.", **journaled("two"), "gates": [{"name": "middle", "after": 1}]},
        say("Over."),
    )
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await stack.model.reached("middle")
        filling = fill(small_disk)
        await said(stack, "is full (")

        error = await refused(conversation, mark)
        assert error.status_code == 507
        assert error.type == "api_error"
        assert "the disk of this stack is full" in error.message
        with pytest.raises(APIStatusError, match="disk of this stack is full"):
            await client.beta.environments.create(name="never")
        assert (await conversation.events("user.message"))[0].id == conversation.sent[0], "reading must go on"
        code, out = await holdfast("status", "--data", str(small_disk))
        assert code == 1
        assert "FULL, new work is refused until" in out

        # The turn cannot log its next step now, and must keep trying.
        await stack.model.release("middle")
        await stack.model.requests(mark, ended=2)
        filling.unlink()
        await said(stack, "has room again")
        await said(stack, "restarting nats: ")
        events = await conversation.until_idle(within=60)
        assert not [r for r in results(events).values() if r.is_error]
        await conversation.say(await stack.model.play(journaled("three"), say("After.")))
        await conversation.until_idle()
        await check_invariants(stack, conversation)
        assert (await client.beta.vaults.create(display_name="after")).id
        code, out = await holdfast("status", "--data", str(small_disk))
        assert code == 0, out
    assert stack.run.supervisor == supervisor
    died = [line for line in stack.log.read_text().splitlines() if " died " in line]
    assert not died, died


async def test_running_turns_can_end_and_be_interrupted_on_the_reserve_of_a_full_disk(
    small_disk: Path, start: Start
) -> None:
    stack = start(environ=RESERVE)
    mark = await stack.model.play(say("On the reserve.", gates=[{"name": "held"}]))
    async with stack.client() as client:
        runs, stuck, idle = [await Conversation.begin(client) for _ in range(3)]
        await runs.say(mark)
        await stuck.say(await stack.model.play(bash("sleep 1000"), say("unreached")))
        await stuck.until_events("agent.tool_use")
        await stack.model.reached("held")
        filling = fill(small_disk, leave=disk.space(small_disk).full_below - 1_000_000)
        await said(stack, "is full (")

        assert (await refused(idle, mark)).status_code == 507
        await stack.model.release("held")
        await runs.until_idle()
        await stuck.interrupt()
        await stuck.until_idle()
        await client.beta.sessions.archive(runs.id)
        await client.beta.sessions.delete(idle.id)

        filling.unlink()
        await said(stack, "has room again")
        await stuck.say(await stack.model.play(say("Again.")))
        await stuck.until_idle()
        await check_invariants(stack, stuck)
    assert "restarting nats" not in stack.log.read_text(), "nothing had failed"


async def test_a_start_on_a_full_disk_fails_and_says_why(small_disk: Path) -> None:
    fill(small_disk)
    code, out = await holdfast("up", "--data", str(small_disk / "stack"), "--port", "0")
    assert code == 1
    assert "is full" in out
    assert "--data" in out
    assert "Traceback" not in out


async def test_the_read_model_moves_to_memory_on_a_full_disk(small_disk: Path) -> None:
    filling = fill(small_disk)
    model = ReadModel(small_disk / "read-model" / "sessions.sqlite", ["a0"])
    model.tables.bind_to_streams("a0", "one")
    filling.unlink()
    assert not (small_disk / "read-model" / "sessions.sqlite").stat().st_size
    model.tables.bind_to_streams("a0", "one")
    assert model.tables.builds == 1
    model.close()
