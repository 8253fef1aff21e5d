"""The record of administrative acts, in the bucket `audit`: who did what to which object, and never a secret.

It is written before the act. So there is no act without its record; after a crash there may be a record without its
act, and the object tells. If the record cannot be stored, nothing is done. The server keeps what is stored: a key of
the bucket is written once (`streams.AUDIT`).
"""

from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from holdfast.bus.api import KeyValue
from holdfast.bus.errors import Damaged
from holdfast.bus.ids import new_id
from holdfast.bus.records import decode_record
from holdfast.bus.streams import AUDIT
from holdfast.session.http.caller import Caller

_log: Final = structlog.get_logger()


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One act. `at` in microseconds since 1970."""

    v: int = 1
    id: str
    at: int
    action: str
    """Such as `api_key.create`."""
    object: str
    """Id of what was acted on."""
    key_id: str
    """Id of the API key that asked for it."""
    key_name: str
    request_id: str
    details: dict[str, str]


class AuditLog:
    """`now` is the clock, in microseconds since 1970."""

    def __init__(self, kv: KeyValue, now: Callable[[], int]) -> None:
        self._kv = kv
        self._now = now

    async def record(self, caller: Caller, request_id: str, action: str, object_id: str, **details: str) -> None:
        """Store that `caller` is about to do it. Raises BusError; then it must not be done."""
        entry = AuditEntry(
            id=new_id("audit"),
            at=self._now(),
            action=action,
            object=object_id,
            key_id=caller.key_id,
            key_name=caller.key_name,
            request_id=request_id,
            details=details,
        )
        await self._kv.create(AUDIT, entry.id, msgspec.json.encode(entry))

    async def newest(self, *, below: str | None, limit: int) -> tuple[list[AuditEntry], str | None]:
        """Up to `limit` acts, the newest first, older than the id `below`; and the id to go on below, if any.

        Raises BusError, among them Newer.
        """
        stored = [entry for entry in await self._kv.list(AUDIT) if below is None or entry.key < below]
        stored.sort(key=lambda entry: entry.key, reverse=True)
        found: list[AuditEntry] = []
        for entry in stored[:limit]:
            try:
                found.append(decode_record(AuditEntry, entry.value or b""))
            except Damaged:  # the others are shown
                _log.error("a record of the audit cannot be read", entry=entry.key)
        return found, stored[limit - 1].key if len(stored) > limit else None
