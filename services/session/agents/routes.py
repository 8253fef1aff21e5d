"""`/v1/agents`."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from holdfast.session.agents.schema import AgentCreate, AgentUpdate
from holdfast.session.context import Context
from holdfast.session.http import pagination
from holdfast.session.http.routing import Call, Route
from holdfast.session.http.timestamps import Instant
from holdfast.session.storage.kv_store import ListEntry


class RetrieveQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1, le=1 << 53)] | None = None


class ListQuery(pagination.PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    include_archived: bool = False
    since: Instant | None = msgspec.field(name="created_at[gte]", default=None)
    until: Instant | None = msgspec.field(name="created_at[lte]", default=None)

    def keeps(self, card: ListEntry) -> bool:
        return (
            (self.include_archived or card.archived_at is None)
            and (self.since is None or card.created_at >= self.since)
            and (self.until is None or card.created_at <= self.until)
        )


def routes(context: Context) -> list[Route]:
    agents = context.agents

    async def create(call: Call) -> Any:
        """Create an agent, at version 1."""
        return (await agents.create(call.tenant, call.body, context.now())).on_the_wire()

    async def retrieve(call: Call) -> Any:
        """Retrieve an agent at a version, or the newest."""
        return (await agents.get(call.tenant, call.id("agent_id"), call.query.version)).on_the_wire()

    async def update(call: Call) -> Any:
        """Update an agent. What changes becomes a new version; a stale `version` is refused with 409."""
        return (await agents.update(call.tenant, call.id("agent_id"), call.body, context.now())).on_the_wire()

    async def archive(call: Call) -> Any:
        """Archive an agent: it can be read, but neither changed nor used for new sessions."""
        return (await agents.archive(call.tenant, call.id("agent_id"), context.now())).on_the_wire()

    async def list_agents(call: Call) -> Any:
        """List agents at their newest versions, newest agent first."""
        query: ListQuery = call.query
        bound = ["agents", call.tenant, query.include_archived, query.since, query.until]
        below = pagination.position_of(query, bound, str)
        found, rest = await agents.shelf.newest(call.tenant, below=below, limit=query.limit, keep=query.keeps)
        return pagination.page([agent.on_the_wire() for agent in found], rest, bound)

    async def list_versions(call: Call) -> Any:
        """List the versions of an agent, newest first."""
        query: pagination.PageQuery = call.query
        name = call.id("agent_id")
        bound = ["versions", call.tenant, name]
        below = pagination.position_of(query, bound, int)
        found, rest = await agents.versions(call.tenant, name, below=below, limit=query.limit)
        return pagination.page([agent.on_the_wire() for agent in found], rest + 1 if rest else None, bound)

    one = "/v1/agents/{agent_id}"
    return [
        Route(method="POST", path="/v1/agents", handle=create, body=AgentCreate),
        Route(method="GET", path="/v1/agents", handle=list_agents, query=ListQuery),
        Route(method="GET", path=one, handle=retrieve, query=RetrieveQuery),
        Route(method="POST", path=one, handle=update, body=AgentUpdate),
        Route(method="POST", path=f"{one}/archive", handle=archive),
        Route(method="GET", path=f"{one}/versions", handle=list_versions, query=pagination.PageQuery),
    ]
