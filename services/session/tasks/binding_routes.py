"""`/v1/bindings`: what the tasks of a kind become."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from holdfast.session.http import pagination
from holdfast.session.http.pagination import Page, PageQuery
from holdfast.session.http.routing import Call, Route
from holdfast.session.tasks.binding_store import BindingStore
from holdfast.session.tasks.bindings import BindingCreate, BindingObject, BindingUpdate


class RetrieveQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1, le=1 << 53)] | None = None


class ListQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Archived bindings are left out unless asked for."""

    include_archived: bool = False


class BindingHandlers:
    """`now` is the clock, in microseconds since 1970."""

    def __init__(self, store: BindingStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    async def create(self, call: Call) -> BindingObject:
        """Create the binding of a kind, or create an archived one again."""
        return (await self._store.create(call.tenant, call.body, self._now())).to_api()

    async def retrieve(self, call: Call) -> BindingObject:
        """Retrieve a binding at a version, or the newest."""
        return (await self._store.get(call.tenant, call.id("kind"), call.query.version)).to_api()

    async def update(self, call: Call) -> BindingObject:
        """Update a binding. What changes becomes a new version; a stale `version` is refused with 409."""
        return (await self._store.update(call.tenant, call.id("kind"), call.body, self._now())).to_api()

    async def archive(self, call: Call) -> BindingObject:
        """Archive a binding: further tasks of its kind are not carried out, but kept as dead ones."""
        return (await self._store.archive(call.tenant, call.id("kind"), self._now())).to_api()

    async def list_bindings(self, call: Call) -> Page[BindingObject]:
        """List bindings at their newest versions, in the order of their kinds."""
        query: ListQuery = call.query
        bound = ["bindings", call.tenant, query.include_archived]
        above = pagination.position_of(query, bound, str)
        found, rest = await self._store.list(
            call.tenant, above=above, limit=query.limit, archived=query.include_archived
        )
        return pagination.page([one.to_api() for one in found], rest, bound)

    async def list_versions(self, call: Call) -> Page[BindingObject]:
        """List the versions of a binding, newest first."""
        query: PageQuery = call.query
        kind = call.id("kind")
        bound = ["binding versions", call.tenant, kind]
        below = pagination.position_of(query, bound, int)
        found, rest = await self._store.versions(call.tenant, kind, below=below, limit=query.limit)
        return pagination.page([one.to_api() for one in found], rest + 1 if rest else None, bound)


def routes(store: BindingStore, now: Callable[[], int]) -> list[Route]:
    handlers = BindingHandlers(store, now)
    bindings, one = "/v1/bindings", "/v1/bindings/{kind}"
    page = Page[BindingObject]
    return [
        Route(method="POST", path=bindings, handle=handlers.create, body=BindingCreate, answer=BindingObject),
        Route(method="GET", path=bindings, handle=handlers.list_bindings, query=ListQuery, answer=page),
        Route(method="GET", path=one, handle=handlers.retrieve, query=RetrieveQuery, answer=BindingObject),
        Route(method="POST", path=one, handle=handlers.update, body=BindingUpdate, answer=BindingObject),
        Route(method="POST", path=f"{one}/archive", handle=handlers.archive, answer=BindingObject),
        Route(method="GET", path=f"{one}/versions", handle=handlers.list_versions, query=PageQuery, answer=page),
    ]
