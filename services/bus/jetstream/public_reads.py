"""Reading the stream of public events over NATS, for services; readers outside have consumers (`bus/readers.py`)."""

from holdfast.bus import streams, subjects
from holdfast.bus.errors import NoResponders, Unavailable
from holdfast.bus.jetstream.protocol import STREAM_NOT_FOUND
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry
from holdfast.bus.public_events import PublicState, StoredPublicEvent, stored_of

PAGE_EVENTS = 64
"""Events in one batched read."""

PAGE_BYTES = 256 * 1024
"""Bytes of events above which it ends."""


class NatsPublicReads:
    """`api.PublicReads` over NATS."""

    def __init__(self, client: JetStreamClient) -> None:
        self._client = client

    async def state(self, cell: str) -> PublicState | None:
        """See `api.PublicReads.state`."""
        return await retry(self._client, self._state, cell)

    async def _state(self, cell: str) -> PublicState | None:
        try:
            answer = await self._client.api(f"STREAM.INFO.{streams.public_stream(cell)}")
        except NoResponders:
            raise Unavailable("JetStream does not answer") from None
        error = answer.get("error")
        if error is None:
            return PublicState(str(answer["created"]), int(answer["state"]["last_seq"]))
        if error.get("err_code") == STREAM_NOT_FOUND:
            return None
        raise Unavailable(f"the stream of public events cannot be read: {error.get('description')}")

    async def after(self, cell: str, tenant: str, seq: int) -> tuple[list[StoredPublicEvent], int]:
        """See `api.PublicReads.after`."""
        got, _ = await retry(
            self._client,
            self._client.batch,
            streams.public_stream(cell),
            subjects.public_of_sessions(cell, tenant),
            seq=seq + 1,
            limit=PAGE_EVENTS,
            max_bytes=PAGE_BYTES,
        )
        found = [stored_of(one.seq, one.headers, one.data) for one in got]
        return [one for one in found if one], got[-1].seq if got else seq
