"""`/v1/api_keys`, an extension: the keys of all tenants, for admin keys."""

import msgspec
from starlette.responses import Response

from holdfast.session.api_keys.schema import ApiKeyCreate, ApiKeyObject, CreatedApiKey, ListQuery, to_api
from holdfast.session.api_keys.store import ApiKeyStore
from holdfast.session.http import pagination
from holdfast.session.http.pagination import Page
from holdfast.session.http.routing import Call, Route


class ApiKeyHandlers:
    def __init__(self, store: ApiKeyStore) -> None:
        self._store = store

    async def create(self, call: Call) -> Response:
        """Make an API key. The answer is the only place that shows it."""
        record, key = await self._store.create(call.body, call.caller, call.request_id)
        created = CreatedApiKey(**msgspec.structs.asdict(to_api(record)), key=key)
        return Response(
            msgspec.json.encode(created), headers={"cache-control": "no-store"}, media_type="application/json"
        )

    async def retrieve(self, call: Call) -> ApiKeyObject:
        """Retrieve an API key, without the key itself."""
        return to_api(await self._store.get(call.id("api_key_id")))

    async def list_keys(self, call: Call) -> Page[ApiKeyObject]:
        """List the API keys of all tenants, newest first."""
        query: ListQuery = call.query
        bound = ["api_keys", query.include_revoked, query.tenant]
        below = pagination.position_of(query, bound, str)
        found, rest = await self._store.newest(below=below, limit=query.limit, keep=query.includes)
        return pagination.page([to_api(record) for record in found], rest, bound)

    async def revoke(self, call: Call) -> ApiKeyObject:
        """Revoke an API key for good: it is refused within seconds, and its event streams end."""
        return to_api(await self._store.revoke(call.id("api_key_id"), call.caller, call.request_id))


def routes(store: ApiKeyStore) -> list[Route]:
    handlers = ApiKeyHandlers(store)
    keys, key = "/v1/api_keys", "/v1/api_keys/{api_key_id}"
    described = [
        Route(method="POST", path=keys, handle=handlers.create, body=ApiKeyCreate, answer=CreatedApiKey),
        Route(method="GET", path=keys, handle=handlers.list_keys, query=ListQuery, answer=Page[ApiKeyObject]),
        Route(method="GET", path=key, handle=handlers.retrieve, answer=ApiKeyObject),
        Route(method="POST", path=f"{key}/revoke", handle=handlers.revoke, answer=ApiKeyObject),
    ]
    return [msgspec.structs.replace(route, access="administer") for route in described]
