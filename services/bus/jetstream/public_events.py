"""The stream of public events over NATS (rule 30)."""

import asyncio
from collections.abc import Sequence
from typing import Any

from holdfast.bus import streams, subjects
from holdfast.bus.errors import Conflict, NoResponders, Unavailable
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.erase import erase_all
from holdfast.bus.jetstream.protocol import STREAM_NOT_FOUND
from holdfast.bus.jetstream.requests import JetStreamClient, WrongLastSequence
from holdfast.bus.jetstream.retry import retry
from holdfast.bus.public_events import PublicEnd, PublicEvent, body_of, end_of, headers_of

TOMBSTONE_TYPE = "session.deleted"
"""Type of the last public event of a deleted session. It is kept when the others are erased."""


class NatsPublicEvents:
    """`api.PublicEvents` over NATS."""

    def __init__(self, client: JetStreamClient) -> None:
        self._client = client
        self._ends: dict[str, tuple[str, PublicEnd]] = {}
        """The end of each cell when it was last read, with the time at which the stream was created.

        The last message may be large, and is the same at most looks."""

    async def end(self, cell: str) -> PublicEnd | None:
        """See `api.PublicEvents.end`."""
        info = await retry(self._client, self._info, cell)
        if info is None:
            self._ends.pop(cell, None)
            return None
        state, stream = info["state"], streams.public_stream(cell)
        seq = int(state["last_seq"])
        if not state["messages"]:
            return PublicEnd(seq)
        created, known = self._ends.get(cell, ("", PublicEnd(0)))
        if (created, known.seq) == (info["created"], seq):
            return known
        end = await self._read_end(stream, cell, seq)
        self._ends[cell] = (info["created"], end)
        return end

    async def _read_end(self, stream: str, cell: str, seq: int) -> PublicEnd:
        """What the last message says, which has the sequence `seq`. Raises Unavailable."""
        last = await retry(self._client, self._client.leader, stream, {"seq": seq})
        if last is None:  # somebody erased it by hand
            query = {"last_by_subj": subjects.all_public(cell)}
            last = await retry(self._client, self._client.leader, stream, query)
        return end_of(seq, last.headers) if last else PublicEnd(seq)

    async def append(self, end: PublicEnd, events: Sequence[PublicEvent], *, epoch: str, publisher: str) -> PublicEnd:
        """See `api.PublicEvents.append`. All are sent at once: each expects the sequence of the one before."""
        sent = [
            self._store(event, end.seq + number, headers_of(event, epoch, publisher))
            for number, event in enumerate(events)
        ]
        for result in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        return PublicEnd(end.seq + len(events), epoch, events[-1].place, publisher) if events else end

    async def _store(self, event: PublicEvent, expect: int, headers: dict[str, str]) -> None:
        """Store behind sequence `expect` of the stream. Raises Conflict, Unavailable, StorageFull."""
        headers["Nats-Expected-Last-Sequence"] = str(expect)
        try:
            seq = await self._client.store(subjects.public(event.key, event.type), body_of(event), headers)
        except WrongLastSequence:
            raise Conflict(expected=expect, actual=0) from None
        if seq != expect + 1:  # the server knew the id, from a time before the end of the stream was cut off
            raise Conflict(expected=expect, actual=seq)

    async def erase(self, key: Key, *, epoch: str, tombstone: int) -> bool:
        """See `api.PublicEvents.erase`."""
        end = await self.end(key.cell)
        if end is None:
            return True
        if end.epoch != epoch or end.place.seq < tombstone:
            return False
        stream, subject = streams.public_stream(key.cell), subjects.public(key, TOMBSTONE_TYPE)
        kept = await retry(self._client, self._client.leader, stream, {"last_by_subj": subject})
        await erase_all(self._client, stream, subjects.public_all(key), below=kept.seq if kept else end.seq)
        return True

    async def _info(self, cell: str) -> dict[str, Any] | None:
        """Time of creation and state of the stream, None if there is no such stream. Raises Unavailable."""
        try:
            answer = await self._client.api(f"STREAM.INFO.{streams.public_stream(cell)}")
        except NoResponders:
            raise Unavailable("JetStream does not answer") from None
        error: dict[str, Any] | None = answer.get("error")
        if error is None:
            return answer
        if error.get("err_code") == STREAM_NOT_FOUND:
            return None
        raise Unavailable(f"the stream of public events cannot be read: {error.get('description')}")
