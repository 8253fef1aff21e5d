"""Agents in the bucket `agents`: the newest version under `<tenant>.<id>`, each older one under `<tenant>.<id>.<n>`.

An update copies the present version to its own key and then replaces it, expecting the revision that it has read. The
copy is the same whichever request makes it, and nobody reads it before the replacement: a crash between the two, or two
updates at once, neither lose nor double a version.
"""

import asyncio
from typing import Any, Final

import msgspec

from holdfast.bus.api import KeyValue
from holdfast.bus.ids import new_id
from holdfast.bus.records import decode_record
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


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an agent as it is stored. Times in microseconds; only the newest version has `archived_at`."""

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
    """Every method raises ApiError for a mistake of the caller and BusError for a failure of the bucket.

    `now` is always in microseconds since 1970.
    """

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self.objects: Final = KvStore(kv, BUCKET, Agent, label="agent")
        """The newest version of each agent."""

    async def create(self, tenant: str, params: AgentCreate, now: int) -> Agent:
        config = create_config(params)
        agent = Agent(id=new_id("agent"), version=1, config=config, created_at=now, updated_at=now)
        await self.objects.put(tenant, agent.id, agent, 0)
        return agent

    async def get(self, tenant: str, agent_id: str, version: int | None = None) -> Agent:
        """That version, or the newest one. Raises ApiError 404."""
        newest, _ = await self.objects.get(tenant, agent_id)
        if version is None or version == newest.version:
            return newest
        entry = None
        if 0 < version < newest.version:
            entry = await self._kv.get(BUCKET, f"{tenant}.{agent_id}.{version}")
        if entry is None or entry.value is None:
            raise not_found("agent version")
        return msgspec.structs.replace(decode_record(Agent, entry.value), archived_at=newest.archived_at)

    async def versions(self, tenant: str, agent_id: str, *, below: int | None, limit: int) -> tuple[list[Agent], int]:
        """Up to `limit` versions, newest first, older than `below`; and how many are left. Raises ApiError 404."""
        newest, _ = await self.objects.get(tenant, agent_id)
        top = newest.version if below is None else min(below - 1, newest.version)
        last = max(0, top - limit)
        return await asyncio.gather(*(self.get(tenant, agent_id, n) for n in range(top, last, -1))), last

    async def update(self, tenant: str, agent_id: str, params: AgentUpdate, now: int) -> Agent:
        """The agent after the update: a new version, or the same one when nothing changes.

        Raises ApiError 404, 400 when it is archived, and 409 when `params.version` is not the newest.
        """

        async def decide(before: Agent) -> Agent:
            if params.version not in (msgspec.UNSET, before.version):
                raise conflict(f"version: the agent is at version {before.version}, the request expects another one")
            if before.archived_at is not None:
                raise invalid("the agent is archived and cannot be changed")
            config = update_config(before.config, params)
            if config == before.config:
                return before
            await self._kv.put(BUCKET, f"{tenant}.{agent_id}.{before.version}", msgspec.json.encode(before))
            return msgspec.structs.replace(before, version=before.version + 1, config=config, updated_at=now)

        return await self.objects.update(tenant, agent_id, decide)

    async def archive(self, tenant: str, agent_id: str, now: int) -> Agent:
        """The archived agent, with the time of the first archiving. Raises ApiError 404."""

        async def decide(before: Agent) -> Agent:
            if before.archived_at is not None:
                return before
            return msgspec.structs.replace(before, archived_at=now, updated_at=now)

        return await self.objects.update(tenant, agent_id, decide)

    async def for_session(self, tenant: str, wanted: SessionAgent) -> dict[str, Any]:
        """The copy of an agent that a session keeps, a SessionAgentObject as plain JSON.

        Raises ApiError 404 for an unknown and 400 for an archived agent.
        """
        ref = AgentRef(id=wanted) if isinstance(wanted, str) else wanted
        agent = await self.objects.cached(tenant, ref.id)
        if ref.version not in (None, agent.version):
            agent = await self.get(tenant, ref.id, ref.version)
        if agent.archived_at is not None:
            raise invalid("agent: the agent is archived, no session can be started with it")
        config = override(agent.config, ref) if isinstance(ref, AgentWithOverrides) else agent.config
        return msgspec.to_builtins(session_agent(agent.id, agent.version, config))
