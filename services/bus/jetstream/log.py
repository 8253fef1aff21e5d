"""The log of sessions over NATS. `append` finds out whether its commit was stored before it returns."""

import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

import structlog

from holdfast.bus import codec, streams, subjects
from holdfast.bus.api import ignore_newer
from holdfast.bus.commits import Commit, Stored
from holdfast.bus.errors import Conflict, Unanswered, Unavailable
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.erase import erase_all
from holdfast.bus.jetstream.log_reads import LogReads
from holdfast.bus.jetstream.object_store import Blobs
from holdfast.bus.jetstream.requests import JetStreamClient, WrongLastSequence
from holdfast.bus.jetstream.retry import Pauses
from holdfast.bus.jetstream.tail import LogTail
from holdfast.process import failures, metering, metrics

log = structlog.get_logger()

_APPEND: Final = {
    metrics.SYSTEM: "nats", metrics.MESSAGING_OPERATION: "append", metrics.DESTINATION: "ev.{cell}.{tenant}.{session}"
}  # fmt: skip

APPEND_TIMEOUT_S = 30.0
"""Seconds after which an append whose outcome is unknown raises Unavailable."""


class NatsLog(LogReads):
    """`api.Log` over NATS."""

    def __init__(self, client: JetStreamClient, blobs: Blobs) -> None:
        super().__init__(client, blobs)
        self._tail = LogTail(client, self)

    def tail(self, key: Key, after: int | None = None) -> AsyncGenerator[Stored | None]:
        """See `api.Log.tail`."""
        return self._tail.tail(key, after)

    def follow(
        self, cell: str, after: int = 0, *, on_newer: Callable[[Key, int], None] = ignore_newer
    ) -> AsyncGenerator[list[tuple[Key, Stored]]]:
        """See `api.Log.follow`."""
        return self._tail.follow(cell, after, on_newer=on_newer)

    async def append(self, key: Key, commit: Commit, expect: int) -> int:
        """See `api.Log.append`. One round trip if the first attempt succeeds."""
        data, bodies = codec.encode_commit(commit)
        for body in bodies:
            await self._blobs.put(key, body)
        subject = subjects.log(key)
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expect)}
        pauses: Pauses | None = None
        began_at = time.perf_counter()
        while True:
            try:
                seq = await self._client.store(subject, data, dict(headers))
                metering.record(metrics.BUS_DURATION, time.perf_counter() - began_at, _APPEND)
                return seq  # noqa: TRY300  the answer that nearly every append gets
            except WrongLastSequence:
                why = Unavailable("the log refused the append although its last sequence is the expected one")
            except Unavailable as exc:
                why = exc
                if isinstance(exc, Unanswered):
                    log.info("log.append_unanswered", session=key.session, failure=failures.message_lost("append"))
            pauses = pauses or Pauses(self._client, APPEND_TIMEOUT_S)
            try:
                seq = await self._resolve(key, commit.id, expect)
            except Unavailable as exc:
                why = exc
            else:
                if seq:
                    return seq
            await pauses.wait(why)

    async def erase(self, key: Key, below: int) -> int:
        """See `api.Log.erase`."""
        commits = await erase_all(self._client, streams.log_stream(key.cell), subjects.log(key), below=below)
        return commits + await self._blobs.erase_all(key)

    async def _resolve(self, key: Key, commit_id: str, expect: int) -> int:
        """The sequence of our commit if the leader has it, 0 if the log still stands at `expect`; else Conflict.

        The log takes our commit only directly behind `expect`, so one message tells, however many have followed.
        """
        last = await self.leader_last(key)
        at = last.seq if last else 0
        if last and codec.commit_id(last.data) == commit_id:
            return at
        if at == expect:
            return 0
        following = {"seq": expect + 1, "next_by_subj": subjects.log(key)}
        got = await self._client.leader(streams.log_stream(key.cell), following)
        if got is not None and codec.commit_id(got.data) == commit_id:
            return got.seq
        raise Conflict(expected=expect, actual=at)
