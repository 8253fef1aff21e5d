"""`/v1/environments`."""

from typing import Any

from holdfast.session.context import Context
from holdfast.session.environments.schema import EnvironmentCreate, EnvironmentUpdate
from holdfast.session.http import pagination
from holdfast.session.http.routing import Call, Route


class ListQuery(pagination.PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    include_archived: bool = False


def routes(context: Context) -> list[Route]:
    environments = context.environments

    async def create(call: Call) -> Any:
        """Create an environment. Its name must be free."""
        return (await environments.create(call.tenant, call.body, context.now())).on_the_wire()

    async def retrieve(call: Call) -> Any:
        """Retrieve an environment."""
        return (await environments.get(call.tenant, call.id("environment_id"))).on_the_wire()

    async def update(call: Call) -> Any:
        """Update an environment. It is not versioned; sessions keep what they started with."""
        name = call.id("environment_id")
        return (await environments.update(call.tenant, name, call.body, context.now())).on_the_wire()

    async def archive(call: Call) -> Any:
        """Archive an environment: it can be read, but neither changed nor used for new sessions."""
        return (await environments.archive(call.tenant, call.id("environment_id"), context.now())).on_the_wire()

    async def delete(call: Call) -> Any:
        """Delete an environment. Its name is free again."""
        name = call.id("environment_id")
        await environments.delete(call.tenant, name)
        return {"id": name, "type": "environment_deleted"}

    async def list_environments(call: Call) -> Any:
        """List environments, newest first."""
        query: ListQuery = call.query
        bound = ["environments", call.tenant, query.include_archived]
        found, rest = await environments.shelf.newest(
            call.tenant,
            below=pagination.position_of(query, bound, str),
            limit=query.limit,
            keep=lambda card: query.include_archived or card.archived_at is None,
        )
        return pagination.page([environment.on_the_wire() for environment in found], rest, bound)

    one = "/v1/environments/{environment_id}"
    return [
        Route(method="POST", path="/v1/environments", handle=create, body=EnvironmentCreate),
        Route(method="GET", path="/v1/environments", handle=list_environments, query=ListQuery),
        Route(method="GET", path=one, handle=retrieve),
        Route(method="POST", path=one, handle=update, body=EnvironmentUpdate),
        Route(method="DELETE", path=one, handle=delete),
        Route(method="POST", path=f"{one}/archive", handle=archive),
    ]
