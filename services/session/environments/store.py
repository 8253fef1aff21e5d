"""Environments in the bucket `envs`, under `<tenant>.<id>`. `names.py` keeps their names unique."""

from typing import Any, Final, cast

import msgspec

from holdfast.bus.api import KeyValue
from holdfast.bus.ids import new_id
from holdfast.session.environments.names import NameReservations
from holdfast.session.environments.schema import (
    CloudObject,
    EnvironmentCreate,
    EnvironmentObject,
    EnvironmentUpdate,
    check_scope,
    resolve_config,
)
from holdfast.session.http import timestamps
from holdfast.session.http.errors import ApiError, invalid
from holdfast.session.storage.kv_store import KvStore
from holdfast.session.storage.metadata import patched

BUCKET: Final = "envs"


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """An environment as it is stored. Times in microseconds; `config` is a CloudObject as plain JSON."""

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


class EnvironmentStore:
    """Every method raises ApiError for a mistake of the caller and BusError for a failure of the bucket.

    `now` is always in microseconds since 1970.
    """

    def __init__(self, kv: KeyValue) -> None:
        self.objects: Final = KvStore(
            kv, BUCKET, Environment, label="environment", missing_code="environment_not_found"
        )
        self._names = NameReservations(kv, BUCKET, self._name_of)

    async def create(self, tenant: str, params: EnvironmentCreate, now: int) -> Environment:
        """Raises ApiError 409 when the name is taken."""
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
        await self._names.reserve(tenant, params.name, environment.id, now)
        await self.objects.put(tenant, environment.id, environment, 0)
        return environment

    async def get(self, tenant: str, environment_id: str) -> Environment:
        """Raises ApiError 404."""
        return (await self.objects.get(tenant, environment_id))[0]

    async def for_session(self, tenant: str, environment_id: str) -> Environment:
        """An environment that a new session may use. Raises ApiError 404, and 400 when it is archived."""
        environment = await self.objects.cached(tenant, environment_id)
        if environment.archived_at is not None:
            raise _archived("no session can be started in it")
        return environment

    async def update(self, tenant: str, environment_id: str, params: EnvironmentUpdate, now: int) -> Environment:
        """The environment after the update. Running sessions keep the configuration they started with."""
        check_scope(params.scope)
        old_name = ""

        async def decide(before: Environment) -> Environment:
            nonlocal old_name
            old_name = before.name
            if before.archived_at is not None:
                raise _archived("it cannot be changed")
            after = _updated(before, params)
            if after == before:
                return before
            if after.name != before.name:
                await self._names.reserve(tenant, after.name, environment_id, now)
            return msgspec.structs.replace(after, updated_at=now)

        environment = await self.objects.update(tenant, environment_id, decide)
        if environment.name != old_name:
            await self._names.release(tenant, old_name, environment_id)
        return environment

    async def archive(self, tenant: str, environment_id: str, now: int) -> Environment:
        """The archived environment. It keeps its name, and the time of the first archiving."""

        async def decide(before: Environment) -> Environment:
            if before.archived_at is not None:
                return before
            return msgspec.structs.replace(before, archived_at=now, updated_at=now)

        return await self.objects.update(tenant, environment_id, decide)

    async def delete(self, tenant: str, environment_id: str) -> None:
        """Sessions that use it keep running: they have their own copy of the configuration."""
        environment = await self.get(tenant, environment_id)
        await self.objects.remove(tenant, environment_id)
        await self._names.release(tenant, environment.name, environment_id)

    async def _name_of(self, tenant: str, environment_id: str) -> str | None:
        found = await self.objects.find(tenant, environment_id)
        return found[0].name if found else None


def _updated(environment: Environment, params: EnvironmentUpdate) -> Environment:
    return msgspec.structs.replace(
        environment,
        name=params.name or environment.name,
        description=environment.description if params.description is msgspec.UNSET else params.description,
        config=resolve_config(params.config, environment.config),
        metadata=patched(environment.metadata, params.metadata or {}, empty_deletes=True),
    )


def _archived(consequence: str) -> ApiError:
    return invalid(f"the environment is archived, {consequence}", code="environment_archived")
