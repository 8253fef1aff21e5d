"""`/v1/agents`."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from holdfast.session.agents.schema import AgentCreate, AgentObject, AgentUpdate
from holdfast.session.agents.store import AgentStore
from holdfast.session.http import pagination
from holdfast.session.http.pagination import Page, PageQuery
from holdfast.session.http.routing import Call, Route
from holdfast.session.http.timestamps import Instant
from holdfast.session.storage.kv_store import ListEntry


class RetrieveQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1, le=1 << 53)] | None = None


class ListQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters of the list of agents. Archived agents are left out unless asked for."""

    include_archived: bool = False
    since: Instant | None = msgspec.field(name="created_at[gte]", default=None)
    until: Instant | None = msgspec.field(name="created_at[lte]", default=None)

    def includes(self, entry: ListEntry) -> bool:
        """Whether the filters let that agent through."""
        return (
            (self.include_archived or entry.archived_at is None)
            and (self.since is None or entry.created_at >= self.since)
            and (self.until is None or entry.created_at <= self.until)
        )


class AgentHandlers:
    """`now` is the clock, in microseconds since 1970."""

    def __init__(self, store: AgentStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    async def create(self, call: Call) -> AgentObject:
        """Create an agent, at version 1."""
        return (await self._store.create(call.tenant, call.body, self._now())).to_api()

    async def retrieve(self, call: Call) -> AgentObject:
        """Retrieve an agent at a version, or the newest."""
        return (await self._store.get(call.tenant, call.id("agent_id"), call.query.version)).to_api()

    async def update(self, call: Call) -> AgentObject:
        """Update an agent. What changes becomes a new version; a stale `version` is refused with 409."""
        return (await self._store.update(call.tenant, call.id("agent_id"), call.body, self._now())).to_api()

    async def archive(self, call: Call) -> AgentObject:
        """Archive an agent: it can be read, but neither changed nor used for new sessions."""
        return (await self._store.archive(call.tenant, call.id("agent_id"), self._now())).to_api()

    async def list_agents(self, call: Call) -> Page[AgentObject]:
        """List agents at their newest versions, newest agent first."""
        query: ListQuery = call.query
        bound = ["agents", call.tenant, query.include_archived, query.since, query.until]
        below = pagination.position_of(query, bound, str)
        found, rest = await self._store.objects.newest(call.tenant, below=below, limit=query.limit, keep=query.includes)
        return pagination.page([agent.to_api() for agent in found], rest, bound)

    async def list_versions(self, call: Call) -> Page[AgentObject]:
        """List the versions of an agent, newest first."""
        query: PageQuery = call.query
        agent_id = call.id("agent_id")
        bound = ["versions", call.tenant, agent_id]
        below = pagination.position_of(query, bound, int)
        found, rest = await self._store.versions(call.tenant, agent_id, below=below, limit=query.limit)
        return pagination.page([agent.to_api() for agent in found], rest + 1 if rest else None, bound)


def routes(store: AgentStore, now: Callable[[], int]) -> list[Route]:
    handlers = AgentHandlers(store, now)
    agents, agent = "/v1/agents", "/v1/agents/{agent_id}"
    page = Page[AgentObject]
    return [
        Route(method="POST", path=agents, handle=handlers.create, body=AgentCreate, answer=AgentObject),
        Route(method="GET", path=agents, handle=handlers.list_agents, query=ListQuery, answer=page),
        Route(method="GET", path=agent, handle=handlers.retrieve, query=RetrieveQuery, answer=AgentObject),
        Route(method="POST", path=agent, handle=handlers.update, body=AgentUpdate, answer=AgentObject),
        Route(method="POST", path=f"{agent}/archive", handle=handlers.archive, answer=AgentObject),
        Route(method="GET", path=f"{agent}/versions", handle=handlers.list_versions, query=PageQuery, answer=page),
    ]
