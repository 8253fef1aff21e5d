"""Key-value buckets over NATS: the layout of NATS KV (one message a key, `KV-Operation: DEL` for a deletion).

The server republishes each stored change, expiry markers included, to `kv.<bucket>.>`, so that a watch needs no
consumer. Each write carries a new id. After a lost response the id tells whether the write was stored.
"""

import asyncio
from collections.abc import AsyncGenerator

from holdfast.bus.api import Entry
from holdfast.bus.errors import Conflict, Unavailable
from holdfast.bus.ids import new_id
from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.jetstream.erase import erase_all
from holdfast.bus.jetstream.requests import JetStreamClient, WrongLastSequence
from holdfast.bus.jetstream.retry import RETRY_TIMEOUT_S, Pauses, retry
from holdfast.bus.jetstream.watched import Watched
from holdfast.bus.subjects import bucket_changes, bucket_key

PAGE_KEYS = 500
"""Keys in one batched read."""

WATCH_IDLE_TIMEOUT_S = 10.0
"""Seconds without a change after which a watch reads the bucket again."""

TOMBSTONE_TTL = "60s"
"""Lifetime of the tombstone that a deletion leaves, as the header Nats-TTL spells it."""


def _stream(bucket: str) -> str:
    return f"KV_{bucket}"


def _subject(bucket: str, key: str) -> str:
    return f"$KV.{bucket}.{key}"


def _entry(bucket: str, got: RawMessage) -> Entry:
    key = got.subject.removeprefix(f"$KV.{bucket}.")
    gone = "KV-Operation" in got.headers or "Nats-Marker-Reason" in got.headers
    return Entry(key, None if gone else got.data, got.seq)


class NatsKeyValue:
    """`api.KeyValue` over NATS."""

    def __init__(self, client: JetStreamClient) -> None:
        self._client = client

    # --- read ------------------------------------------------------------------------------------------------------

    async def get(self, bucket: str, key: str, *, leader: bool = True) -> Entry | None:
        """See `api.KeyValue.get`. By default the leader answers, which has every acknowledged write."""
        if leader:
            got = await self._last(bucket, key)
        else:
            got = await retry(self._client, self._client.direct, _stream(bucket), _subject(bucket, bucket_key(key)))
        entry = _entry(bucket, got) if got else None
        return entry if entry and entry.value is not None else None

    async def _last(self, bucket: str, key: str) -> RawMessage | None:
        query = {"last_by_subj": _subject(bucket, bucket_key(key))}
        return await retry(self._client, self._client.leader, _stream(bucket), query)

    async def _all(self, bucket: str, match: str) -> list[Entry]:
        found: list[Entry] = []
        at, left = 0, 1
        while left:
            got, left = await retry(
                self._client, self._client.batch, _stream(bucket), _subject(bucket, match), seq=at + 1, limit=PAGE_KEYS
            )
            if not got:
                break
            found += [_entry(bucket, one) for one in got]
            at = got[-1].seq
        return list({entry.key: entry for entry in found}.values())

    # --- write -----------------------------------------------------------------------------------------------------

    async def put(self, bucket: str, key: str, value: bytes, *, ttl: float = 0.0) -> int:
        """See `api.KeyValue.put`."""
        return await self._write(bucket, key, value, ttl=ttl)

    async def create(self, bucket: str, key: str, value: bytes, *, ttl: float = 0.0) -> int:
        """See `api.KeyValue.create`."""
        expect = 0
        while True:
            try:
                return await self._write(bucket, key, value, ttl=ttl, expect=expect)
            except Conflict as exc:
                got = await self._last(bucket, key)
                if got and _entry(bucket, got).value is not None:
                    raise Conflict(expected=0, actual=got.seq) from None
                after_tombstone = got.seq if got else 0
                if after_tombstone == expect and exc.actual == expect:
                    raise  # should not happen; without this it would loop for ever
                expect = after_tombstone

    async def put_new(self, bucket: str, key: str, value: bytes) -> int:
        """See `api.KeyValue.put_new`."""
        subject = _subject(bucket, bucket_key(key))
        headers = {"Nats-Msg-Id": new_id("kvw"), "Nats-Expected-Last-Subject-Sequence": "0"}
        try:
            return await retry(self._client, self._client.store, subject, value, headers)
        except WrongLastSequence:
            raise Conflict(expected=0, actual=0) from None

    async def update(self, bucket: str, key: str, value: bytes, revision: int, *, ttl: float = 0.0) -> int:
        """See `api.KeyValue.update`."""
        return await self._write(bucket, key, value, ttl=ttl, expect=revision)

    async def delete(self, bucket: str, key: str) -> None:
        """See `api.KeyValue.delete`."""
        await self._write(bucket, key, b"", headers={"KV-Operation": "DEL", "Nats-TTL": TOMBSTONE_TTL})

    async def erase(self, bucket: str, revision: int) -> None:
        """See `api.KeyValue.erase`."""
        await retry(self._client, self._client.erase, _stream(bucket), revision)

    async def erase_all(self, bucket: str, match: str) -> int:
        """See `api.KeyValue.erase_all`."""
        return await erase_all(self._client, _stream(bucket), _subject(bucket, match))

    async def _write(
        self,
        bucket: str,
        key: str,
        value: bytes,
        *,
        ttl: float = 0.0,
        expect: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> int:
        write = new_id("kvw")
        sent = {**(headers or {}), "Nats-Msg-Id": write}
        if ttl:
            sent["Nats-TTL"] = f"{max(1, round(ttl))}s"
        if expect is not None:
            sent["Nats-Expected-Last-Subject-Sequence"] = str(expect)
        subject, unsure = _subject(bucket, bucket_key(key)), False
        pauses: Pauses | None = None
        while True:
            try:
                return await self._client.store(subject, value, dict(sent))
            except WrongLastSequence:
                last = await self._last(bucket, key)
                if unsure and last and last.headers.get("Nats-Msg-Id") == write:
                    return last.seq  # an earlier attempt was stored and its response lost
                raise Conflict(expected=expect or 0, actual=last.seq if last else 0) from None
            except Unavailable as why:
                unsure = True
                pauses = pauses or Pauses(self._client, RETRY_TIMEOUT_S)
                await pauses.wait(why)

    # --- watch -----------------------------------------------------------------------------------------------------

    async def watch(self, bucket: str, match: str = ">") -> AsyncGenerator[Entry | None]:
        """See `api.KeyValue.watch`."""
        updates: asyncio.Queue[Entry | None] = asyncio.Queue()
        prefix = bucket_changes(bucket, "")

        async def receive(got: RawMessage) -> None:
            changed = RawMessage(_subject(bucket, got.subject.removeprefix(prefix)), "", got.data, got.headers)
            updates.put_nowait(_entry(bucket, changed))

        def note_reconnection() -> None:
            updates.put_nowait(None)

        subject = bucket_changes(bucket, match)
        listening = await retry(self._client, self._client.listen, subject, receive)
        self._client.on_reconnect.add(note_reconnection)
        try:
            await retry(self._client, self._client.flush)
            told = Watched()
            for entry in await self._all(bucket, match):
                if told.is_news(entry):
                    yield entry
            yield None
            while True:
                try:
                    async with asyncio.timeout(WATCH_IDLE_TIMEOUT_S):
                        entry = await updates.get()
                except TimeoutError:
                    entry = None
                changes = [entry] if entry else await self._differences(bucket, match, told.present)
                for change in changes or ():
                    if told.is_news(change):
                        yield change
                if entry is None and changes is not None:
                    yield None
        finally:
            self._client.on_reconnect.discard(note_reconnection)
            await listening.close()

    async def _differences(self, bucket: str, match: str, known: dict[str, int]) -> list[Entry] | None:
        """What the bucket holds, and the entries that are gone; None if it cannot be read now."""
        try:
            now = {entry.key: entry for entry in await self._all(bucket, match)}
            missing = [key for key in known if key not in now]
            gone = [await self._gone(bucket, key, known[key]) for key in missing]
        except Unavailable:
            return None
        return gone + list(now.values())

    async def _gone(self, bucket: str, key: str, revision: int) -> Entry:
        """The entry that the leader has for a key that a replica does not list, since the replica may lag."""
        got = await self._last(bucket, key)
        return _entry(bucket, got) if got else Entry(key, None, revision + 1)

    async def list(self, bucket: str, match: str = ">") -> list[Entry]:
        """See `api.KeyValue.list`. A replica answers: confirm with `get` before acting on what is not listed."""
        return [entry for entry in await self._all(bucket, match) if entry.value is not None]
