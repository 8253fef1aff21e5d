"""Bindings in the bucket `bindings`: the newest version under `<tenant>.<kind>`, each older one with its number behind.

Versions are made as those of agents are (`agents/store.py`). An archived kind may be created again, and goes on with
the next version, so that the record of a task never names two things.
"""

import asyncio
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from holdfast.bus.api import KeyValue
from holdfast.bus.errors import BusError, Conflict
from holdfast.bus.records import decode_record
from holdfast.session.agents.schema import AgentRef
from holdfast.session.agents.store import AgentStore
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.http.errors import ApiError, conflict, invalid, not_found
from holdfast.session.storage.kv_store import KvStore
from holdfast.session.tasks.bindings import (
    Binding,
    BindingConfig,
    BindingCreate,
    BindingUpdate,
    create_config,
    update_config,
)
from holdfast.session.tasks.signature_params import SignatureParams
from holdfast.session.tasks.signing_secrets import SigningSecrets

BUCKET: Final = "bindings"

_log = structlog.get_logger()


class BindingStore:
    """Every method raises ApiError for a mistake of the caller and BusError for a failure of the bucket.

    `now` is always in microseconds since 1970. Secrets of signatures are stored before a binding names them, and the
    former ones are removed after it. What a crash leaves between the two is removed with the next change.
    """

    def __init__(
        self, kv: KeyValue, agents: AgentStore, environments: EnvironmentStore, secrets: SigningSecrets
    ) -> None:
        self._kv = kv
        self._agents = agents
        self._environments = environments
        self._secrets = secrets
        self._objects: KvStore[Binding] = KvStore(kv, BUCKET, Binding, label="binding")

    async def newest(self, tenant: str, kind: str) -> Binding | None:
        """The newest version, as the leader of the bucket has it."""
        found = await self._objects.find(tenant, kind)
        return found[0] if found else None

    async def create(self, tenant: str, params: BindingCreate, now: int) -> Binding:
        """Raises ApiError 409 if there is one of that kind that is not archived, 404 for its agent or environment."""
        config, kind = create_config(params), params.kind
        _refuse_existing(await self.newest(tenant, kind))
        await self._check(tenant, config)
        config = await self._with_secrets(tenant, kind, config, params.signature)
        first = Binding(kind=kind, version=1, config=config, created_at=now, updated_at=now)
        try:
            try:
                await self._objects.put(tenant, kind, first, 0)
            except Conflict:
                return await self._create_again(tenant, kind, config, now)
        except (ApiError, Conflict):
            await self._forget(tenant, kind, config)
            raise
        return first

    async def _create_again(self, tenant: str, kind: str, config: BindingConfig, now: int) -> Binding:
        async def decide(before: Binding) -> Binding:
            _refuse_existing(before)
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
        former = made = None

        async def decide(before: Binding) -> Binding:
            nonlocal former, made
            if params.version not in (msgspec.UNSET, before.version):
                raise conflict(f"version: the binding is at version {before.version}, the request expects another one")
            if before.archived_at is not None:
                raise invalid("the binding is archived and cannot be changed; create it again")
            config = update_config(before.config, params)
            if config == before.config:
                return before
            await self._check(tenant, config)
            if isinstance(params.signature, SignatureParams) and params.signature.secrets:
                made = made or await self._with_secrets(tenant, kind, config, params.signature, before.config)
                config = replace(config, signature=made.signature)
            await self._keep(tenant, before)
            former = before.config
            return replace(before, version=before.version + 1, config=config, updated_at=now)

        try:
            after = await self._objects.update(tenant, kind, decide)
        except ApiError:
            await self._forget(tenant, kind, made)
            raise
        if former and _secrets_id(former) != _secrets_id(after.config):
            await self._forget(tenant, kind, former)
        return after

    async def archive(self, tenant: str, kind: str, now: int) -> Binding:
        """The archived binding, with the time of the first archiving: its tasks become dead letters.

        Its secrets are removed. If that fails, a repeated archive does it.
        """

        async def decide(before: Binding) -> Binding:
            return before if before.archived_at is not None else replace(before, archived_at=now, updated_at=now)

        archived = await self._objects.update(tenant, kind, decide)
        if secrets_id := _secrets_id(archived.config):
            await self._secrets.remove(tenant, kind, secrets_id)
        return archived

    async def _with_secrets(
        self,
        tenant: str,
        kind: str,
        config: BindingConfig,
        given: SignatureParams | None,
        before: BindingConfig | None = None,
    ) -> BindingConfig:
        """The configuration, which names the secrets of `given` once they are stored."""
        if not given or not given.secrets or not config.signature:
            return config
        made = await self._secrets.keep(tenant, kind, given.secrets, in_use=_secrets_id(before))
        return replace(config, signature=replace(config.signature, secrets_id=made))

    async def _forget(self, tenant: str, kind: str, config: BindingConfig | None) -> None:
        """Remove secrets that no binding names; if that fails, the next change of the binding does it."""
        secrets_id = _secrets_id(config)
        if not secrets_id:
            return
        try:
            await self._secrets.remove(tenant, kind, secrets_id)
        except (ApiError, BusError) as exc:
            _log.warning("signing secrets are not removed yet", kind=kind, cause=type(exc).__name__)

    async def _keep(self, tenant: str, version: Binding) -> None:
        """Copy a version to its own key, before the next one replaces it."""
        await self._kv.put(BUCKET, f"{tenant}.{version.kind}.{version.version}", msgspec.json.encode(version))

    async def _check(self, tenant: str, config: BindingConfig) -> None:
        """Raise ApiError 404 or 400 for an agent or an environment in which no session can be started."""
        await self._agents.for_session(tenant, AgentRef(id=config.agent_id, version=config.agent_version))
        await self._environments.for_session(tenant, config.environment_id)


def _secrets_id(config: BindingConfig | None) -> str:
    return config.signature.secrets_id if config and config.signature else ""


def _refuse_existing(found: Binding | None) -> None:
    """Raise ApiError 409 for a binding that is not archived."""
    if found and found.archived_at is None:
        raise conflict(f"kind: there is a binding of this kind; update it: POST /v1/bindings/{found.kind}")
