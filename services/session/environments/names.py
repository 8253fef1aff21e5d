"""Unique names of environments: each name in use is a reservation in the bucket `envs`, under `<tenant>.name.<hash>`.

A name is reserved before its environment is stored, so that of two creations at once one fails. The name is free again
after RESERVATION_GRACE_US if that environment was never stored, is deleted, or has another name by then. A released
name stays as an empty reservation: deleting the key could delete the reservation that a faster request has just made.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from holdfast.bus.api import Entry, KeyValue
from holdfast.bus.errors import Conflict
from holdfast.bus.records import decode_record
from holdfast.session.http.errors import ApiError, conflict

RESERVATION_GRACE_US: Final = 60 * 1_000_000
"""Longest time from a reservation to its environment; the deadlines of the bus allow far less."""


class _Reservation(msgspec.Struct, frozen=True):
    """The environment that has a name since `at` (microseconds since 1970); an empty `id`: the name is free."""

    id: str
    at: int = 0
    v: int = 1


class NameReservations:
    """`name_of(tenant, environment_id)` is the present name of an environment, None if there is no such environment."""

    def __init__(self, kv: KeyValue, bucket: str, name_of: Callable[[str, str], Awaitable[str | None]]) -> None:
        self._kv = kv
        self._bucket = bucket
        self._name_of = name_of

    async def reserve(self, tenant: str, name: str, environment_id: str, now: int) -> None:
        """Raises ApiError 409, which names the environment that has the name, and BusError."""
        key, raw = _key(tenant, name), msgspec.json.encode(_Reservation(environment_id, now))
        try:
            await self._kv.create(self._bucket, key, raw)
        except Conflict:
            entry = await self._kv.get(self._bucket, key)
            if holder := await self._holder(tenant, name, entry, environment_id, now):
                raise _taken(holder) from None
            try:
                await self._kv.update(self._bucket, key, raw, entry.revision if entry else 0)
            except Conflict:
                entry = await self._kv.get(self._bucket, key)
                raise _taken(await self._holder(tenant, name, entry, environment_id, now)) from None

    async def release(self, tenant: str, name: str, environment_id: str) -> None:
        """Make the name free again if that environment has it. Raises BusError."""
        key = _key(tenant, name)
        entry = await self._kv.get(self._bucket, key)
        if entry and entry.value and _decode(entry.value).id == environment_id:
            try:
                await self._kv.update(self._bucket, key, msgspec.json.encode(_Reservation("")), entry.revision)
            except Conflict:
                return  # another environment has reserved it meanwhile, which is possible only if it was free

    async def _holder(self, tenant: str, name: str, entry: Entry | None, environment_id: str, now: int) -> str:
        """Id of another environment that has the name; empty if the name is free."""
        if entry is None or not entry.value:
            return ""
        reservation = _decode(entry.value)
        if reservation.id in ("", environment_id):
            return ""
        if now - reservation.at < RESERVATION_GRACE_US:
            return reservation.id
        return reservation.id if await self._name_of(tenant, reservation.id) == name else ""


def _decode(raw: bytes) -> _Reservation:
    return decode_record(_Reservation, raw)


def _key(tenant: str, name: str) -> str:
    return f"{tenant}.name.{hashlib.sha256(name.encode()).hexdigest()}"


def _taken(holder: str) -> ApiError:
    """`holder`: id of the environment that has the name; empty when the name has just been released."""
    if not holder:
        return conflict("name: another request took or gave back that name at the same time; try again")
    text = f"name: there is an environment of that name already: {holder}"
    return conflict(text, {"error_code": "name_taken", "environment_id": holder})
