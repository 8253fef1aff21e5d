"""Bindings in the bucket `bindings`: the newest version under `<tenant>.<kind>`, each older one with its number behind.

Versions are made as those of agents are (`agents/store.py`). An archived kind may be created again, and goes on with
the next version, so that the record of a task never names two things.
"""

import asyncio
from typing import Final

import msgspec
from msgspec.structs import replace

from holdfast.bus.api import KeyValue
from holdfast.bus.errors import Conflict
from holdfast.bus.records import decode_record
from holdfast.session.agents.schema import AgentRef
from holdfast.session.agents.store import AgentStore
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.http.errors import conflict, invalid, not_found
from holdfast.session.storage.kv_store import KvStore
from holdfast.session.tasks.bindings import (
    Binding,
    BindingConfig,
    BindingCreate,
    BindingUpdate,
    create_config,
    update_config,
)

BUCKET: Final = "bindings"


class BindingStore:
    """Every method raises ApiError for a mistake of the caller and BusError for a failure of the bucket.

    `now` is always in microseconds since 1970.
    """

    def __init__(self, kv: KeyValue, agents: AgentStore, environments: EnvironmentStore) -> None:
        self._kv = kv
        self._agents = agents
        self._environments = environments
        self._objects: KvStore[Binding] = KvStore(kv, BUCKET, Binding, label="binding")

    async def newest(self, tenant: str, kind: str) -> Binding | None:
        """The newest version, as the leader of the bucket has it."""
        found = await self._objects.find(tenant, kind)
        return found[0] if found else None

    async def create(self, tenant: str, params: BindingCreate, now: int) -> Binding:
        """Raises ApiError 409 if there is one of that kind that is not archived, 404 for its agent or environment."""
        config = create_config(params)
        await self._check(tenant, config)
        first = Binding(kind=params.kind, version=1, config=config, created_at=now, updated_at=now)
        try:
            await self._objects.put(tenant, params.kind, first, 0)
        except Conflict:
            return await self._create_again(tenant, params.kind, config, now)
        return first

    async def _create_again(self, tenant: str, kind: str, config: BindingConfig, now: int) -> Binding:
        async def decide(before: Binding) -> Binding:
            if before.archived_at is None:
                raise conflict(f"kind: there is a binding of this kind; update it: POST /v1/bindings/{kind}")
            await self._keep(tenant, before)
            return Binding(kind=kind, version=before.version + 1, config=config, created_at=now, updated_at=now)

        return await self._objects.update(tenant, kind, decide)

    async def get(self, tenant: str, kind: str, version: int | None = None) -> Binding:
        """That version, or the newest one. Raises ApiError 404."""
        newest, _ = await self._objects.get(tenant, kind)
        if version is None or version == newest.version:
            return newest
        entry = await self._kv.get(BUCKET, f"{tenant}.{kind}.{version}") if 0 < version < newest.version else None
        if entry is None or entry.value is None:
            raise not_found("binding version")
        return decode_record(Binding, entry.value)

    async def versions(self, tenant: str, kind: str, *, below: int | None, limit: int) -> tuple[list[Binding], int]:
        """Up to `limit` versions, newest first, older than `below`; and how many are left. Raises ApiError 404."""
        newest, _ = await self._objects.get(tenant, kind)
        top = newest.version if below is None else min(below - 1, newest.version)
        last = max(0, top - limit)
        return await asyncio.gather(*(self.get(tenant, kind, n) for n in range(top, last, -1))), last

    async def list(
        self, tenant: str, *, above: str | None, limit: int, archived: bool
    ) -> tuple[list[Binding], str | None]:
        """Up to `limit` bindings in the order of their kinds, behind the kind `above`; and the kind to go on behind."""
        entries = await self._kv.list(BUCKET, f"{tenant}.*")
        found = sorted(
            (decode_record(Binding, entry.value) for entry in entries if entry.value), key=lambda one: one.kind
        )
        rest = [one for one in found if (above is None or one.kind > above) and (archived or one.archived_at is None)]
        return rest[:limit], rest[limit - 1].kind if len(rest) > limit else None

    async def update(self, tenant: str, kind: str, params: BindingUpdate, now: int) -> Binding:
        """The binding after the update: a new version, or the same one when nothing changes.

        Raises ApiError 404, 400 when it is archived, and 409 when `params.version` is not the newest.
        """

        async def decide(before: Binding) -> Binding:
            if params.version not in (msgspec.UNSET, before.version):
                raise conflict(f"version: the binding is at version {before.version}, the request expects another one")
            if before.archived_at is not None:
                raise invalid("the binding is archived and cannot be changed; create it again")
            config = update_config(before.config, params)
            if config == before.config:
                return before
            await self._check(tenant, config)
            await self._keep(tenant, before)
            return replace(before, version=before.version + 1, config=config, updated_at=now)

        return await self._objects.update(tenant, kind, decide)

    async def archive(self, tenant: str, kind: str, now: int) -> Binding:
        """The archived binding, with the time of the first archiving: its tasks become dead letters."""

        async def decide(before: Binding) -> Binding:
            return before if before.archived_at is not None else replace(before, archived_at=now, updated_at=now)

        return await self._objects.update(tenant, kind, decide)

    async def _keep(self, tenant: str, version: Binding) -> None:
        """Copy a version to its own key, before the next one replaces it."""
        await self._kv.put(BUCKET, f"{tenant}.{version.kind}.{version.version}", msgspec.json.encode(version))

    async def _check(self, tenant: str, config: BindingConfig) -> None:
        """Raise ApiError 404 or 400 for an agent or an environment in which no session can be started."""
        await self._agents.for_session(tenant, AgentRef(id=config.agent_id, version=config.agent_version))
        await self._environments.for_session(tenant, config.environment_id)
