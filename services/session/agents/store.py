"""Agents in the bucket `agents`: the newest version under `<tenant>.<id>`, each older one under `<tenant>.<id>.<n>`.

An update copies the present version to its own key and then replaces it, expecting the revision it has read. The copy
is the same whoever makes it, and means nothing until the replacement: a crash between the two, or two updates at once,
neither lose nor double a version.
"""

import asyncio
from typing import Any, Final

import msgspec

from holdfast.bus.api import KeyValue
from holdfast.bus.errors import Conflict
from holdfast.bus.ids import new_id
from holdfast.session.agents.resolve import create_config, override, session_agent, update_config
from holdfast.session.agents.schema import (
    AgentConfig,
    AgentCreate,
    AgentObject,
    AgentRef,
    AgentUpdate,
    AgentWithOverrides,
    SessionAgent,
)
from holdfast.session.http import timestamps
from holdfast.session.http.errors import conflict, invalid, not_found
from holdfast.session.storage.kv_store import KvStore

BUCKET: Final = "agents"

_ATTEMPTS: Final = 8
"""Times an update without a version is tried against others that come first."""


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an agent. Times in microseconds; `archived_at` counts only in the newest version."""

    v: int = 1
    id: str
    version: int
    config: AgentConfig
    created_at: int
    updated_at: int
    archived_at: int | None = None

    def to_api(self) -> AgentObject:
        """The object that clients see."""
        return AgentObject(
            **msgspec.structs.asdict(session_agent(self.id, self.version, self.config)),
            metadata=self.config.metadata,
            created_at=timestamps.text(self.created_at),
            updated_at=timestamps.text(self.updated_at),
            archived_at=timestamps.text_or_none(self.archived_at),
        )


class AgentStore:
    """Raises Problem for what the caller did wrong, BusError for what the bucket did."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self._decoder = msgspec.json.Decoder(Agent)
        self.agents: Final = KvStore(kv, BUCKET, Agent)

    async def create(self, tenant: str, params: AgentCreate, now: int) -> Agent:
        config = create_config(params)
        agent = Agent(id=new_id("agent"), version=1, config=config, created_at=now, updated_at=now)
        await self.agents.put(tenant, agent.id, agent, 0)
        return agent

    async def get(self, tenant: str, name: str, version: int | None = None) -> Agent:
        """That version, or the newest one. Raises Problem 404."""
        agent, _ = await self._newest(tenant, name)
        if version is None or version == agent.version:
            return agent
        entry = None
        if 0 < version < agent.version:
            entry = await self._kv.get(BUCKET, f"{tenant}.{name}.{version}")
        if entry is None or entry.value is None:
            raise not_found("agent version")
        return msgspec.structs.replace(self._decoder.decode(entry.value), archived_at=agent.archived_at)

    async def versions(self, tenant: str, name: str, *, below: int | None, limit: int) -> tuple[list[Agent], int]:
        """Up to `limit` versions, newest first, older than `below`; and how many are left."""
        agent, _ = await self._newest(tenant, name)
        top = agent.version if below is None else min(below - 1, agent.version)
        last = max(0, top - limit)
        return await asyncio.gather(*(self.get(tenant, name, n) for n in range(top, last, -1))), last

    async def update(self, tenant: str, name: str, params: AgentUpdate, now: int) -> Agent:
        """The agent after the update: a new version, or the same one when nothing changes."""
        for _ in range(_ATTEMPTS):
            agent, revision = await self._newest(tenant, name)
            if params.version not in (msgspec.UNSET, agent.version):
                raise conflict(f"version: the agent is at version {agent.version}, the request expects another one")
            if agent.archived_at is not None:
                raise invalid("the agent is archived and cannot be changed")
            config = update_config(agent.config, params)
            if config == agent.config:
                return agent
            await self._kv.put(BUCKET, f"{tenant}.{name}.{agent.version}", msgspec.json.encode(agent))
            following = msgspec.structs.replace(agent, version=agent.version + 1, config=config, updated_at=now)
            try:
                await self.agents.put(tenant, name, following, revision)
            except Conflict:
                continue
            return following
        raise conflict("the agent is being changed by others all the time; try again")

    async def archive(self, tenant: str, name: str, now: int) -> Agent:
        """Idempotent: archived once, it keeps its time."""
        while True:
            agent, revision = await self._newest(tenant, name)
            if agent.archived_at is not None:
                return agent
            archived = msgspec.structs.replace(agent, archived_at=now, updated_at=now)
            try:
                await self.agents.put(tenant, name, archived, revision)
            except Conflict:
                continue
            return archived

    async def for_session(self, tenant: str, wanted: SessionAgent) -> dict[str, Any]:
        """The resolved copy that a session keeps. Raises Problem 404 for an unknown and 400 for an archived agent."""
        ref = AgentRef(id=wanted) if isinstance(wanted, str) else wanted
        found = await self.agents.known(tenant, ref.id)
        if found is None:
            raise not_found("agent")
        agent = found[0]
        if ref.version not in (None, agent.version):
            agent = await self.get(tenant, ref.id, ref.version)
        if agent.archived_at is not None:
            raise invalid("agent: the agent is archived, no session can be started with it")
        config = override(agent.config, ref) if isinstance(ref, AgentWithOverrides) else agent.config
        return msgspec.to_builtins(session_agent(agent.id, agent.version, config))

    async def _newest(self, tenant: str, name: str) -> tuple[Agent, int]:
        found = await self.agents.get(tenant, name)
        if found is None:
            raise not_found("agent")
        return found
