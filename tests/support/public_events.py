"""What is in the stream of public events, and what has to be in it: all that clients see of the log, in its order."""

import json
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from holdfast.bus import events as ev
from holdfast.bus import streams, subjects
from holdfast.bus.ids import FIRST_CELL
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.session.log.serialize import event_to_api, visible_events
from tests.support.eventually import eventually


class Published(NamedTuple):
    """One message of the stream."""

    subject: str
    headers: dict[str, str]
    data: bytes

    @property
    def id(self) -> str:
        return self.headers["ce-id"]

    @property
    def body(self) -> Any:
        return json.loads(self.data)


async def published(url: str, cell: str = FIRST_CELL) -> list[Published]:
    """All messages of the stream, oldest first."""
    link = JetStreamClient()
    await link.open(url.split(","), name="test", login=None)
    found: list[Published] = []
    at, left = 0, 1
    try:
        while left:
            got, left = await link.batch(
                streams.public_stream(cell), subjects.all_public(cell), seq=at + 1, limit=500, max_bytes=4_000_000
            )
            if not got:
                break
            found += [Published(one.subject, one.headers, one.data) for one in got]
            at = got[-1].seq
    finally:
        await link.close()
    return found


async def in_log(bus: NatsBus, cell: str = FIRST_CELL) -> list[tuple[str, Any]]:
    """Subject and JSON object of every event of the log of the cell that clients see, in order."""
    found: list[tuple[str, Any]] = []
    async with aclosing(bus.log.follow(cell)) as batches:
        async for batch in batches:
            if not batch:
                break
            for key, stored in batch:
                whole = stored
                if any(isinstance(e, ev.Blob) for e in stored.commit.events):
                    got = await bus.log.get(key, stored.seq)
                    assert got
                    whole = got
                for event in visible_events(whole):
                    shown = msgspec.json.encode(event_to_api(event.event, event.processed_at))
                    found.append((subjects.public(key, event.type), json.loads(shown)))
    return found


async def all_published(bus: NatsBus, url: str, *, within: float = 30.0, full: bool = False) -> list[Published]:
    """Wait until the stream holds what the log shows, each event once and in order. Returns it. Raises AssertionError.

    Nothing may be written meanwhile. `full`: the oldest events may be missing, which a full stream has dropped.
    """
    state: list[Published] = []
    wanted: list[tuple[str, Any]] = []

    async def same() -> bool:
        wanted[:] = await in_log(bus)  # a deleted session may be erased meanwhile
        state[:] = await published(url)
        ids, last = [one.id for one in state], [shown["id"] for _, shown in wanted]
        assert len(set(ids)) == len(ids), "published twice"
        return ids == (last[-len(ids) :] if full and ids else last)

    await eventually(same, within=within, what="the log in the stream of public events")
    assert [(one.subject, one.body) for one in state] == wanted[len(wanted) - len(state) :]
    return state
