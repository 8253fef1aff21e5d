"""A delete leaves nothing that was said in a session in any file of the data folder, whatever dies meanwhile.

A canary is in each place that a conversation has: the title, messages, the input and output of tools, a file, large
bodies, the snapshot. The tests look for its bytes as whoever finds the disk would.
"""

import contextlib
from collections.abc import AsyncGenerator

import anthropic

from holdfast.bus.streams import SNAPSHOTS
from tests.faults.conftest import Start
from tests.support.conversation import Conversation
from tests.support.disk_search import all_on_disk, found_on_disk, nothing_on_disk
from tests.support.eventually import eventually
from tests.support.model import bash, call, said, say
from tests.support.stack import Stack

EVERY_TURN = {"HOLDFAST_SNAPSHOT_EVERY": "1"}
"""A snapshot after each turn."""

LARGE_CHARS = 300_000
"""Characters that do not fit a message."""

DOCUMENT_CHARS = 5_000_000
"""Characters that do not fit one value of a snapshot, so that it is stored in parts."""

PLACES = (
    *("title", "message", "large-message", "document", "end-of-document"),
    *("answer", "input", "output", "large-output", "file", "second-turn"),
)


def canary(place: str) -> str:
    return f"canary-{place}-of-a-deleted-session"


CANARIES = [canary(place) for place in PLACES]


@contextlib.asynccontextmanager
async def finished(stack: Stack) -> AsyncGenerator[Conversation]:
    """A session with two turns and a canary in each place, each of which is in some file."""
    spelled = canary("output").replace("canary", "can''ary")  # so that only the output has it, and not the command
    large = f"printf '%s' {canary('large-output')}; head -c {LARGE_CHARS} /dev/zero | tr '\\0' y"
    mark = await stack.model.play(
        bash(f"echo {spelled}; : {canary('input')}"),
        call("write", file_path="kept.txt", content=canary("file")),
        bash(f"{large} > large.txt"),
        call("read", file_path="large.txt"),
        say(canary("answer")),
        say(canary("second-turn")),
    )
    async with stack.client(retries=0) as client:
        conversation = await Conversation.begin(client, title=canary("title"))
        await conversation.send(said(mark, canary("message")))
        await conversation.until_idle()
        text = f"{canary('large-message')} {'x' * LARGE_CHARS}"
        data = f"{canary('document')} {'d' * DOCUMENT_CHARS} {canary('end-of-document')}"
        document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": data}}
        await conversation.send({"type": "user.message", "content": [{"type": "text", "text": text}, document]})
        await conversation.until_idle()
        await all_on_disk(stack.data, CANARIES)
        snapshots = [line for line in found_on_disk(stack.data, CANARIES) if "KV_snap" in line]
        assert any(line.endswith(canary("second-turn")) for line in snapshots)
        async with stack.bus() as bus:
            assert len(await bus.kv.list(SNAPSHOTS)) == 3, "two parts, and their manifest"
        yield conversation


async def nothing_left(stack: Stack, conversation: Conversation) -> None:
    """Wait until the deleted session has no bytes in any file, no folder of a sandbox and no placement."""
    await nothing_on_disk(stack.data, CANARIES, within=60)
    assert not [p for p in (stack.data / "sandbox").rglob("*") if conversation.id in p.name]

    async def look() -> bool:
        async with stack.bus() as bus:
            return not [entry for entry in await bus.kv.list("hands") if conversation.id in entry.key]

    await eventually(look, within=60, what="no placement")  # its worker may be dead: until its registration expires


async def test_nothing_of_a_deleted_session_is_in_the_data_folder(start: Start) -> None:
    stack = start(environ=EVERY_TURN)
    async with finished(stack) as conversation:
        await conversation.client.beta.sessions.delete(conversation.id)
        await nothing_left(stack, conversation)


async def test_a_session_service_that_dies_right_after_the_tombstone_erases_when_it_is_back(start: Start) -> None:
    stack = start(environ=EVERY_TURN, faults={"session": "session.deleted:kill"})
    old = stack.pid("session")
    async with finished(stack) as conversation:
        with contextlib.suppress(anthropic.APIConnectionError):
            await conversation.client.beta.sessions.delete(conversation.id)
        await stack.replaced("session", old)
        await nothing_on_disk(stack.data / "nats", CANARIES, within=60)
        await nothing_on_disk(stack.data / "session", CANARIES)
        # Nobody told the worker of the delete. It looks by itself when it starts.
        old = stack.kill("sandbox")
        await stack.replaced("sandbox", old)
        await nothing_left(stack, conversation)


async def test_a_sandbox_service_that_is_away_at_the_delete_removes_the_files_when_it_is_back(start: Start) -> None:
    stack = start(environ=EVERY_TURN)
    async with finished(stack) as conversation:
        old = stack.kill("sandbox")
        await conversation.client.beta.sessions.delete(conversation.id)
        await stack.replaced("sandbox", old)
        await nothing_left(stack, conversation)
