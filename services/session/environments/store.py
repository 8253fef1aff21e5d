"""Environments in the bucket `envs`, under `<tenant>.<id>`; their names are reserved under `<tenant>.name.<hash>`.

A name is reserved before its environment is stored, so that of two creations at once one fails. A reservation whose
environment never came, or is deleted, or has another name by now, is free after GRACE seconds. A name that is given
back stays as an empty reservation: deleting the key could delete what a faster one has just put there.
"""

import hashlib
from typing import Any, Final, cast

import msgspec

from holdfast.bus.api import Entry, KeyValue
from holdfast.bus.errors import Conflict
from holdfast.bus.ids import new_id
from holdfast.session.environments.schema import (
    CloudObject,
    EnvironmentCreate,
    EnvironmentObject,
    EnvironmentUpdate,
    check_scope,
    resolve_config,
)
from holdfast.session.http import timestamps
from holdfast.session.http.errors import ApiError, conflict, invalid, not_found
from holdfast.session.storage.kv_store import KvStore
from holdfast.session.storage.metadata import patched

BUCKET: Final = "envs"

GRACE: Final = 60
"""Seconds a creation may take; far more than the deadlines of the bus allow."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Times in microseconds; `config` as on the wire."""

    v: int = 1
    id: str
    name: str
    description: str | None
    config: dict[str, Any]
    metadata: dict[str, str]
    created_at: int
    updated_at: int
    archived_at: int | None = None

    def to_api(self) -> EnvironmentObject:
        """The object that clients see."""
        return EnvironmentObject(
            id=self.id,
            type="environment",
            name=self.name,
            description=self.description,
            config=cast("CloudObject", self.config),
            metadata=self.metadata,
            scope="organization",
            created_at=timestamps.text(self.created_at),
            updated_at=timestamps.text(self.updated_at),
            archived_at=timestamps.text_or_none(self.archived_at),
        )


class _Reservation(msgspec.Struct, frozen=True):
    """Whose a name is since when (microseconds); nobody's with an empty id."""

    id: str
    at: int = 0


class EnvironmentStore:
    """Raises Problem for what the caller did wrong, BusError for what the bucket did."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self.environments: Final = KvStore(kv, BUCKET, Environment)

    async def create(self, tenant: str, params: EnvironmentCreate, now: int) -> Environment:
        check_scope(params.scope)
        environment = Environment(
            id=new_id("env"),
            name=params.name,
            description=params.description,
            config=resolve_config(params.config),
            metadata=dict(params.metadata or {}),
            created_at=now,
            updated_at=now,
        )
        await self._reserve(tenant, params.name, environment.id, now)
        await self.environments.put(tenant, environment.id, environment, 0)
        return environment

    async def get(self, tenant: str, name: str) -> Environment:
        """Raises Problem 404."""
        return (await self._find(tenant, name))[0]

    async def for_session(self, tenant: str, name: str) -> Environment:
        """One that a new session may use. Raises Problem 404, and 400 when it is archived."""
        found = await self.environments.known(tenant, name)
        if found is None:
            raise not_found("environment", code="environment_not_found")
        environment = found[0]
        if environment.archived_at is not None:
            raise _archived("no session can be started in it")
        return environment

    async def update(self, tenant: str, name: str, params: EnvironmentUpdate, now: int) -> Environment:
        """The environment after the update. Running sessions keep the configuration they started with."""
        check_scope(params.scope)
        while True:
            environment, revision = await self._find(tenant, name)
            if environment.archived_at is not None:
                raise _archived("it cannot be changed")
            after = _updated(environment, params)
            if after == environment:
                return environment
            if after.name != environment.name:
                await self._reserve(tenant, after.name, name, now)
            try:
                await self.environments.put(tenant, name, msgspec.structs.replace(after, updated_at=now), revision)
            except Conflict:
                continue
            if after.name != environment.name:
                await self._give_back(tenant, environment.name, name)
            return msgspec.structs.replace(after, updated_at=now)

    async def archive(self, tenant: str, name: str, now: int) -> Environment:
        """Idempotent: archived once, it keeps its time, and its name."""
        while True:
            environment, revision = await self._find(tenant, name)
            if environment.archived_at is not None:
                return environment
            archived = msgspec.structs.replace(environment, archived_at=now, updated_at=now)
            try:
                await self.environments.put(tenant, name, archived, revision)
            except Conflict:
                continue
            return archived

    async def delete(self, tenant: str, name: str) -> None:
        """Sessions that use it keep running: they have their own copy of the configuration."""
        environment = await self.get(tenant, name)
        await self.environments.remove(tenant, name)
        await self._give_back(tenant, environment.name, name)

    async def _find(self, tenant: str, name: str) -> tuple[Environment, int]:
        found = await self.environments.get(tenant, name)
        if found is None:
            raise not_found("environment", code="environment_not_found")
        return found

    # --- names -----------------------------------------------------------------------------------------------------

    async def _reserve(self, tenant: str, name: str, owner: str, now: int) -> None:
        """Raises Problem 409, which names the environment that has the name."""
        key, mine = _name_key(tenant, name), msgspec.json.encode(_Reservation(owner, now))
        try:
            await self._kv.create(BUCKET, key, mine)
        except Conflict:
            entry = await self._kv.get(BUCKET, key)
            if holder := await self._holder(tenant, name, entry, owner, now):
                raise _taken(holder) from None
            try:
                await self._kv.update(BUCKET, key, mine, entry.revision if entry else 0)
            except Conflict:
                holder = await self._holder(tenant, name, await self._kv.get(BUCKET, key), owner, now)
                raise _taken(holder) from None

    async def _holder(self, tenant: str, name: str, entry: Entry | None, wanted_by: str, now: int) -> str:
        """Id of the other environment that has the name; empty: the name is free."""
        if entry is None or not entry.value:
            return ""
        held = msgspec.json.decode(entry.value, type=_Reservation)
        if held.id in ("", wanted_by):
            return ""
        if now - held.at < GRACE * 1_000_000:
            return held.id
        found = await self.environments.get(tenant, held.id)
        return held.id if found is not None and found[0].name == name else ""

    async def _give_back(self, tenant: str, name: str, owner: str) -> None:
        key = _name_key(tenant, name)
        entry = await self._kv.get(BUCKET, key)
        if entry and entry.value and msgspec.json.decode(entry.value, type=_Reservation).id == owner:
            try:
                await self._kv.update(BUCKET, key, msgspec.json.encode(_Reservation("")), entry.revision)
            except Conflict:
                return  # someone else has it by now, which only happens to a name that was free


def _name_key(tenant: str, name: str) -> str:
    return f"{tenant}.name.{hashlib.sha256(name.encode()).hexdigest()}"


def _updated(environment: Environment, params: EnvironmentUpdate) -> Environment:
    return msgspec.structs.replace(
        environment,
        name=params.name or environment.name,
        description=environment.description if params.description is msgspec.UNSET else params.description,
        config=resolve_config(params.config, environment.config),
        metadata=patched(environment.metadata, params.metadata or {}, empty_deletes=True),
    )


def _taken(holder: str) -> ApiError:
    """`holder`: id of the environment that has the name; empty when it has just been given back."""
    if not holder:
        return conflict("name: another request took or gave back that name at the same time; try again")
    text = f"name: there is an environment of that name already: {holder}"
    return conflict(text, {"error_code": "name_taken", "environment_id": holder})


def _archived(consequence: str) -> ApiError:
    return invalid(f"the environment is archived, {consequence}", code="environment_archived")
