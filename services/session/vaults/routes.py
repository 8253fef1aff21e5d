"""`/v1/vaults`: bodies are checked here, the vault service does the rest."""

from typing import Any

from holdfast.session.http.pagination import Page
from holdfast.session.http.routing import Call, Route
from holdfast.session.vaults.client import VaultClient, given
from holdfast.session.vaults.schema import DeletedVault, ListQuery, VaultCreate, VaultObject, VaultUpdate


class VaultHandlers:
    def __init__(self, client: VaultClient) -> None:
        self._client = client

    async def create(self, call: Call) -> Any:
        """Create a vault."""
        params: VaultCreate = call.body
        body = {"display_name": params.display_name, "metadata": params.metadata or {}}
        return await self._client.request(call, "vaults.create", body)

    async def retrieve(self, call: Call) -> Any:
        """Retrieve a vault."""
        return await self._client.request(call, "vaults.retrieve")

    async def update(self, call: Call) -> Any:
        """Update a vault."""
        return await self._client.request(call, "vaults.update", given(call.body, "display_name", "metadata"))

    async def archive(self, call: Call) -> Any:
        """Archive a vault with its credentials: their secrets are gone, the records stay."""
        return await self._client.request(call, "vaults.archive")

    async def delete(self, call: Call) -> Any:
        """Delete a vault with its credentials, for good."""
        return await self._client.request(call, "vaults.delete")

    async def list_vaults(self, call: Call) -> Page[Any]:
        """List vaults, newest first."""
        return await self._client.page(call, "vaults.list")


def routes(client: VaultClient) -> list[Route]:
    handlers = VaultHandlers(client)
    vaults, vault = "/v1/vaults", "/v1/vaults/{vault_id}"
    return [
        Route(method="POST", path=vaults, handle=handlers.create, body=VaultCreate, answer=VaultObject),
        Route(method="GET", path=vaults, handle=handlers.list_vaults, query=ListQuery, answer=Page[VaultObject]),
        Route(method="GET", path=vault, handle=handlers.retrieve, answer=VaultObject),
        Route(method="POST", path=vault, handle=handlers.update, body=VaultUpdate, answer=VaultObject),
        Route(method="DELETE", path=vault, handle=handlers.delete, answer=DeletedVault),
        Route(method="POST", path=f"{vault}/archive", handle=handlers.archive, answer=VaultObject),
    ]
