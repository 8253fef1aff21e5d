"""Makes, lists and revokes API keys, in the bucket that `http.api_keys` reads them from."""

from collections.abc import AsyncGenerator, Callable
from typing import Final

import msgspec
import structlog

from holdfast.bus.api import Entry, KeyValue
from holdfast.bus.errors import Conflict, Damaged
from holdfast.bus.ids import new_id
from holdfast.bus.records import decode_record
from holdfast.process.api_keys import new_api_key
from holdfast.session.api_keys.schema import ApiKeyCreate
from holdfast.session.audit.log import AuditLog
from holdfast.session.http.caller import Caller
from holdfast.session.http.errors import ApiError, conflict, not_found
from holdfast.session.http.key_record import BUCKET, KeyRecord, digest, stored

REVOKE_ATTEMPTS: Final = 10
"""Times that a revocation begins again because the record was changed at the same time."""

_log = structlog.get_logger()


class ApiKeyStore:
    """`now` is the clock, in microseconds since 1970. Every method raises BusError, among them Newer."""

    def __init__(self, kv: KeyValue, audit: AuditLog, now: Callable[[], int]) -> None:
        self._kv = kv
        self._audit = audit
        self._now = now

    async def create(self, params: ApiKeyCreate, caller: Caller, request_id: str) -> tuple[KeyRecord, str]:
        """The record of a new key, and the key, which is stored nowhere."""
        key = new_api_key()
        record = KeyRecord(
            tenant=params.tenant or caller.tenant,
            id=new_id("apikey"),
            name=params.name,
            created=self._now(),
            role=params.role,
            created_by=caller.key_id,
        )
        details = {"name": record.name, "role": params.role, "tenant": record.tenant}
        await self._audit.record(caller, request_id, "api_key.create", record.id, **details)
        await self._kv.create(BUCKET, digest(key), stored(record))
        return record, key

    async def get(self, key_id: str) -> KeyRecord:
        """The record of a key, revoked or not. Raises ApiError 404."""
        return (await self._find(key_id))[0]

    async def newest(
        self, *, below: str | None, limit: int, keep: Callable[[KeyRecord], bool]
    ) -> tuple[list[KeyRecord], str | None]:
        """Up to `limit` keys, newest first, older than the id `below`; and the id to go on below, if any."""
        found = [record async for record, _ in self._all() if keep(record) and (below is None or record.id < below)]
        found.sort(key=lambda record: record.id, reverse=True)
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    async def revoke(self, key_id: str, caller: Caller, request_id: str) -> KeyRecord:
        """The revoked key, with the time of the first revocation. Raises ApiError 404, and 409 for the last admin key.

        Every replica of the session service refuses the key as soon as it hears of it.
        """
        is_recorded = False
        for _ in range(REVOKE_ATTEMPTS):
            record, entry = await self._find(key_id)
            if record.revoked_at is not None:
                return record
            if record.role == "admin":
                await self._check_another_admin(key_id)
            if not is_recorded:
                details = {"name": record.name, "role": record.acts_as, "tenant": record.tenant}
                await self._audit.record(caller, request_id, "api_key.revoke", key_id, **details)
                is_recorded = True
            revoked = msgspec.structs.replace(record, revoked_at=self._now())
            try:
                await self._kv.update(BUCKET, entry.key, stored(revoked), entry.revision)
            except Conflict:
                continue
            return revoked
        raise conflict("the API key is being changed by others all the time; try again")

    async def _check_another_admin(self, key_id: str) -> None:
        """Raise ApiError 409 if nobody could make keys any more."""
        async for record, _ in self._all():
            if record.id != key_id and record.role == "admin" and record.revoked_at is None:
                return
        raise _last_admin()

    async def _find(self, key_id: str) -> tuple[KeyRecord, Entry]:
        """The record as the leader has it. Raises ApiError 404."""
        async for record, entry in self._all():
            if record.id == key_id:
                newest = await self._kv.get(BUCKET, entry.key)
                if newest and newest.value:
                    return decode_record(KeyRecord, newest.value), newest
        raise not_found("API key")

    async def _all(self) -> AsyncGenerator[tuple[KeyRecord, Entry]]:
        """All keys, as one replica of the bucket has them. One that nobody can read is left out."""
        for entry in await self._kv.list(BUCKET):
            try:
                yield decode_record(KeyRecord, entry.value or b""), entry
            except Damaged:
                _log.error("the record of an API key cannot be read", digest=entry.key[:8])


def _last_admin() -> ApiError:
    text = "this is the last admin key: make another one first, as only an admin key can make keys"
    return conflict(text, {"error_code": "last_admin_key"})
