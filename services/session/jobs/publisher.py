"""Copies public events from the log of a cell to its stream of public events, in order, each once (rule 30).

One replica publishes, the others stand by: nobody is elected. Each append expects the last sequence of the stream, so
that of two publishers one is refused. The last message says how far the log is published; whoever goes on reads it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from holdfast.bus import events as ev
from holdfast.bus.api import Bus, PublicEvents
from holdfast.bus.commits import Stored
from holdfast.bus.errors import BusError, Conflict, Damaged, Newer
from holdfast.bus.ids import Key, new_id
from holdfast.bus.public_events import LogPlace, PublicEnd, PublicEvent
from holdfast.process.faults import point
from holdfast.process.retry import keep_watching
from holdfast.session.log.serialize import event_to_api, visible_events

STANDBY_INTERVAL_S: Final = 1.0
"""Seconds between two looks at the stream by a replica that does not publish. If an event was stored at one look, and
is not published at the next, that replica publishes."""

ABSENT_INTERVAL_S: Final = 10.0
"""Seconds between two looks for a stream that is not there."""

NEWER_PAUSE_S: Final = 30.0
"""Seconds to leave to a newer version what only that can read."""

MAX_PART_EVENTS: Final = 64
"""Events sent at once. To prepare them takes some milliseconds, in which the process does nothing else."""

MAX_PART_BYTES: Final = 4 * 1024 * 1024
"""Bytes of events above which they are sent."""

Commits = list[tuple[Key, Stored]]

_log = structlog.get_logger()


class Publisher:
    """Publishes the events of one cell, or stands by. `public` is the stream, `bus` the log that is read."""

    def __init__(self, bus: Bus, public: PublicEvents, cell: str, log_position: Callable[[], int]) -> None:
        """`log_position`: the sequence of a commit that is stored, not far below the last."""
        self._bus = bus
        self._public = public
        self._cell = cell
        self._log_position = log_position
        self._id = new_id("pub")

    async def run(self) -> None:
        """Publish or stand by until cancelled. After a failure it begins anew at the end of the stream."""
        await keep_watching(self._turn, on=BusError, what="stream of public events", cell=self._cell)

    async def _turn(self) -> None:
        """Wait until this replica publishes; return when another one does. Raises BusError."""
        end, epoch = await self._stand_by()
        _log.info("publishes public events", cell=self._cell, publisher=self._id, after=end.place.seq)
        try:
            await self._publish(end, epoch)
        except Conflict:
            _log.info("public events were published by another replica", cell=self._cell, publisher=self._id)
        except Newer:
            _log.warning("public events wait until every session service is of the newer version", cell=self._cell)
            await asyncio.sleep(NEWER_PAUSE_S)

    # --- standing by -----------------------------------------------------------------------------------------------

    async def _stand_by(self) -> tuple[PublicEnd, str]:
        """Return the end of the stream, and the epoch, when this replica has to go on there."""
        before: PublicEnd | None = None
        stored = clear = 0
        while True:
            end = await self._public.end(self._cell)
            if end is None:
                before = None
                await asyncio.sleep(ABSENT_INTERVAL_S)
                continue
            epoch = await self._bus.inbox.stream_epoch(self._cell)
            if end.epoch != epoch:  # of no log, or of one that was replaced: the log is published from its start
                end = PublicEnd(end.seq, epoch)
            if end.publisher == self._id:
                return end, epoch
            if end != before:
                before, clear = end, max(end.place.seq - 1, 0)
            else:
                found, clear = await self._look_for_public(end.place, clear, stored)
                if found:
                    return end, epoch
            stored = self._log_position()
            await asyncio.sleep(STANDBY_INTERVAL_S)

    async def _look_for_public(self, place: LogPlace, after: int, upto: int) -> tuple[bool, int]:
        """Whether there is a public event behind `place` in a commit above `after` and at most `upto`.

        Also the sequence of the last commit that was looked at: a read that fails ends early, and without an error.
        """
        if upto <= after:
            return False, after
        async with aclosing(self._bus.log.follow(self._cell, after)) as batches:
            async for batch in batches:
                for _, stored in batch:
                    if stored.seq > upto:
                        return False, after
                    places = (LogPlace(stored.seq, index) for index in range(len(stored.commit.events)))
                    if any(at > place and _is_public(e) for at, e in zip(places, stored.commit.events, strict=True)):
                        return True, after
                    after = stored.seq
                if not batch:
                    break
        return False, after

    # --- publishing ------------------------------------------------------------------------------------------------

    async def _publish(self, end: PublicEnd, epoch: str) -> None:
        """Publish everything behind `end`, then what is stored from now on.

        Raises Conflict when another replica has published, Newer at a commit of a newer version, Unavailable.
        """
        newer: list[int] = []
        after, log = end.place, self._bus.log
        reading = log.follow(self._cell, max(after.seq - 1, 0), on_newer=lambda _key, seq: newer.append(seq))
        async with aclosing(reading) as batches:
            async for batch in batches:
                readable = _before_newer(batch, newer)
                async with aclosing(self._parts(readable, after)) as parts:
                    async for events in parts:
                        point("session.publishing")
                        end = await self._public.append(end, events, epoch=epoch, publisher=self._id)
                        point("session.published")
                if newer or len(readable) < len(batch):
                    raise Newer("an event of the log")

    async def _parts(self, commits: Commits, after: LogPlace) -> AsyncGenerator[list[PublicEvent]]:
        """The public events of the commits behind `after`, as many at once as are sent at once."""
        part: list[PublicEvent] = []
        size = 0
        for key, stored in commits:
            if any(isinstance(e, ev.Blob) and _is_public(e) for e in stored.commit.events):
                stored = await self._whole(key, stored)  # noqa: PLW2901  the same commit
            for event in _public_events(key, stored, after):
                part.append(event)
                size += len(event.data)
                if len(part) >= MAX_PART_EVENTS or size > MAX_PART_BYTES:
                    yield part
                    part, size = [], 0
        if part:
            yield part

    async def _whole(self, key: Key, stored: Stored) -> Stored:
        """The commit with its large events. Those that are gone, with their session or for ever, are left out."""
        try:
            found = await self._bus.log.get(key, stored.seq)
        except Damaged as exc:
            last = await self._bus.log.head(key, leader=True)
            if last is None or not last.commit.head.deleted:
                _log.error("large events not published", session=key.session, seq=stored.seq, cause=str(exc))
            return stored
        return found or stored


def _before_newer(commits: Commits, newer: list[int]) -> Commits:
    """The commits before the first that only a newer version can read, or that has an event which only that knows."""
    unknown = [
        stored.seq
        for _, stored in commits
        if any(isinstance(e, ev.Unknown) and _is_public(e) for e in stored.commit.events)
    ]
    first = min([*newer, *unknown], default=0)
    return [(key, stored) for key, stored in commits if not first or stored.seq < first]


def _public_events(key: Key, stored: Stored, after: LogPlace) -> Iterator[PublicEvent]:
    """The public events of a commit that are behind `after`."""
    for event in visible_events(stored):
        place = LogPlace(stored.seq, event.position.index)
        if place > after:
            data = msgspec.json.encode(event_to_api(event.event, event.processed_at))
            yield PublicEvent(key, event.event.id, event.type, event.processed_at, place, data, stored.traceparent)


def _is_public(event: ev.Event) -> bool:
    """Whether the API shows the event, also one that is too large for its commit or of an unknown type."""
    type_ = event.of if isinstance(event, ev.Blob | ev.Unknown) else ev.type_of(event)
    return not type_.startswith("holdfast.")
