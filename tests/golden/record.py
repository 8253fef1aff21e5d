"""Record the histories of this version: `python -m tests.golden.record [--release NAME] [--only SCENARIO ...]`.

It starts the real stack with the scripted model, drives each scenario of `scenarios.py` through the API, and writes the
log of its session as it was stored, with what this version reads from it, to `histories/<release>/<scenario>`. Before
it writes anything it compares the messages that the model was really sent with those that are read from the log. Run it
once for a release, before its tag. What is there already is refused: a history of a release is never made again.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from holdfast.bus import codec, streams, subjects
from holdfast.bus.jetstream.object_store import Blobs
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.harness.conversation.context import SUMMARY_PROMPT
from holdfast.process.settings import credentials
from holdfast.scripted_model.journal import Record
from tests.golden.history import About, History
from tests.golden.scenarios import NARROW, SCENARIOS
from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.stack import TENANT, Stack, key, stack

HISTORIES = Path(__file__).parent / "histories"
PAGE_COMMITS = 500


async def stored_history(running: Stack, session: str, release: str) -> History:
    """The log of the session, byte for byte, with the bodies of its blobs."""
    run = running.run
    client = JetStreamClient()
    await client.open([run.nats_url], name="record", login=credentials(run.credentials["admin"]))
    try:
        lines: list[tuple[int, bytes]] = []
        left, where = 1, key(session)
        while left:
            at = lines[-1][0] + 1 if lines else 1
            found, left = await client.batch(
                streams.log_stream(where.cell), subjects.log(where), seq=at, limit=PAGE_COMMITS
            )
            lines += [(each.seq, each.data) for each in found]
        refs = [blob for _, data in lines for blob in codec.blob_refs(codec.decode_commit(data))]
        bodies = await Blobs(client).get_all(where, [(blob.ref, blob.size) for blob in refs])
    finally:
        await client.close()
    return History(About(TENANT, session, release), lines, bodies)


def sent_messages(record: Record) -> list[Any]:
    """The messages of a request as they are without the marks of prompt caching."""
    return [
        {
            **message,
            "content": [{k: v for k, v in block.items() if k != "cache_control"} for block in message["content"]],
        }
        for message in record.body["messages"]
    ]


async def check_requests(running: Stack, history: History) -> None:
    """Raises AssertionError unless the log gives the messages that the model was sent, request by request."""
    said = str([stored.commit.events for stored in history.whole])
    records = [record for record in await running.model.requests() if any(mark in said for mark in record.marks)]
    sent = [messages for record in records if SUMMARY_PROMPT not in str(messages := sent_messages(record))]
    shown = [messages for start, messages in history.requests()[0] if start.purpose == "turn"]
    assert sent == shown, f"{len(sent)} requests were sent, {len(shown)} are read from the log, or they differ"


async def record(running: Stack, name: str, target: Path, release: str) -> None:
    """Drive one scenario and write its history."""
    async with running.client() as client:
        conversation = await SCENARIOS[name](running, client)
    await settled(running, conversation)
    history = await stored_history(running, conversation.id, release)
    await check_requests(running, history)
    history.save(target / name)
    print(f"{name}: {len(history.stored)} commits, {history.last.count} events")  # noqa: T201


async def settled(running: Stack, conversation: Conversation) -> None:
    """Wait until nothing more will be appended: no claim, no open call."""
    async with running.bus() as bus:

        async def look() -> bool:
            stored = await bus.log.head(key(conversation.id), leader=True)
            return stored is not None and stored.commit.head.claim is None and not stored.commit.head.calls

        await eventually(look, what=f"{conversation.id} at rest")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden.record", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--release", default=version("holdfast-agents"))
    parser.add_argument("--only", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    given = parser.parse_args()
    target = HISTORIES / given.release
    if there := [name for name in given.only if (target / name).exists()]:
        print(f"{target} has {', '.join(there)} already; a history is never made again")  # noqa: T201
        return 1
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name in given.only:
        groups.setdefault(tuple(NARROW.get(name, {}).items()), []).append(name)
    folder = Path(tempfile.mkdtemp(prefix="record-"))
    try:
        for number, (environ, names) in enumerate(groups.items()):
            (folder / str(number)).mkdir()
            with stack(folder / str(number), environ=dict(environ)) as running:
                for name in names:
                    asyncio.run(record(running, name, target, given.release))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
