"""Records of tasks and of session keys in the bucket `tasks`; each write names the revision that it replaces."""

from typing import Final

import msgspec

from holdfast.bus.api import KeyValue
from holdfast.bus.errors import Conflict
from holdfast.bus.records import decode_record
from holdfast.bus.streams import DEAD_TASK_DAYS, UNBOUND_TASK_DAYS
from holdfast.bus.subjects import session_key_key, task_record_key
from holdfast.session.tasks.record import KeyedSession, TaskRecord

BUCKET: Final = "tasks"

DEAD_TTL_S: Final = DEAD_TASK_DAYS * 24 * 3600.0
"""A dead task is known for as long as its letter is kept."""

UNBOUND_TTL_S: Final = UNBOUND_TASK_DAYS * 24 * 3600.0
"""The same for one whose kind had no binding."""

MAX_KEY_ATTEMPTS: Final = 10


class TaskRecords:
    """Every method raises BusError."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv

    async def get(self, tenant: str, task_id: str) -> tuple[TaskRecord | None, int]:
        """The record and its revision, as the leader has them; 0 if there is none."""
        entry = await self._kv.get(BUCKET, task_record_key(tenant, task_id))
        if entry is None or entry.value is None:
            return None, 0
        return decode_record(TaskRecord, entry.value), entry.revision

    async def write(self, tenant: str, task_id: str, record: TaskRecord, revision: int, *, ttl: float = 0.0) -> int:
        """Store over that revision, or as new with 0; returns the new one. Raises Conflict."""
        key, raw = task_record_key(tenant, task_id), msgspec.json.encode(record)
        if revision:
            return await self._kv.update(BUCKET, key, raw, revision, ttl=ttl)
        return await self._kv.create(BUCKET, key, raw, ttl=ttl)

    async def session_for(self, tenant: str, kind: str, key_hash: str, session: str, *, ended: str = "") -> str:
        """The session of that key: `session` if the key is new, or if it names `ended`. Raises Conflict."""
        key, raw = session_key_key(tenant, kind, key_hash), msgspec.json.encode(KeyedSession(session=session))
        for _ in range(MAX_KEY_ATTEMPTS):
            entry = await self._kv.get(BUCKET, key)
            try:
                if entry is None or entry.value is None:
                    await self._kv.create(BUCKET, key, raw)
                    return session
                found = decode_record(KeyedSession, entry.value).session
                if found != ended:
                    return found
                await self._kv.update(BUCKET, key, raw, entry.revision)
            except Conflict:
                continue
            return session
        raise Conflict(expected=0, actual=0)
