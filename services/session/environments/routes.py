"""`/v1/environments`."""

from collections.abc import Callable

from holdfast.session.environments.schema import (
    DeletedEnvironment,
    EnvironmentCreate,
    EnvironmentObject,
    EnvironmentUpdate,
)
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.http import pagination
from holdfast.session.http.pagination import Page, PageQuery
from holdfast.session.http.routing import Call, Route
from holdfast.session.storage.kv_store import ListEntry


class ListQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters of the list of environments. Archived environments are left out unless asked for."""

    include_archived: bool = False

    def includes(self, entry: ListEntry) -> bool:
        """Whether the filter lets that environment through."""
        return self.include_archived or entry.archived_at is None


class EnvironmentHandlers:
    """`now` is the clock, in microseconds since 1970."""

    def __init__(self, store: EnvironmentStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    async def create(self, call: Call) -> EnvironmentObject:
        """Create an environment. Its name must be free."""
        return (await self._store.create(call.tenant, call.body, self._now())).to_api()

    async def retrieve(self, call: Call) -> EnvironmentObject:
        """Retrieve an environment."""
        return (await self._store.get(call.tenant, call.id("environment_id"))).to_api()

    async def update(self, call: Call) -> EnvironmentObject:
        """Update an environment. It is not versioned; sessions keep the configuration they started with."""
        return (await self._store.update(call.tenant, call.id("environment_id"), call.body, self._now())).to_api()

    async def archive(self, call: Call) -> EnvironmentObject:
        """Archive an environment: it can be read, but neither changed nor used for new sessions."""
        return (await self._store.archive(call.tenant, call.id("environment_id"), self._now())).to_api()

    async def delete(self, call: Call) -> DeletedEnvironment:
        """Delete an environment. Its name is free again."""
        environment_id = call.id("environment_id")
        await self._store.delete(call.tenant, environment_id)
        return DeletedEnvironment(id=environment_id, type="environment_deleted")

    async def list_environments(self, call: Call) -> Page[EnvironmentObject]:
        """List environments, newest first."""
        query: ListQuery = call.query
        bound = ["environments", call.tenant, query.include_archived]
        below = pagination.position_of(query, bound, str)
        found, rest = await self._store.objects.newest(call.tenant, below=below, limit=query.limit, keep=query.includes)
        return pagination.page([environment.to_api() for environment in found], rest, bound)


def routes(store: EnvironmentStore, now: Callable[[], int]) -> list[Route]:
    handlers = EnvironmentHandlers(store, now)
    environments, environment = "/v1/environments", "/v1/environments/{environment_id}"
    shape, page = EnvironmentObject, Page[EnvironmentObject]
    return [
        Route(method="POST", path=environments, handle=handlers.create, body=EnvironmentCreate, answer=shape),
        Route(method="GET", path=environments, handle=handlers.list_environments, query=ListQuery, answer=page),
        Route(method="GET", path=environment, handle=handlers.retrieve, answer=shape),
        Route(method="POST", path=environment, handle=handlers.update, body=EnvironmentUpdate, answer=shape),
        Route(method="DELETE", path=environment, handle=handlers.delete, answer=DeletedEnvironment),
        Route(method="POST", path=f"{environment}/archive", handle=handlers.archive, answer=shape),
    ]
