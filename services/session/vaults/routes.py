"""`/v1/vaults`: checked here, kept by the vault service."""

from typing import Any

from holdfast.session.context import Context
from holdfast.session.http.routing import Call, Route
from holdfast.session.vaults.client import VaultClient, given
from holdfast.session.vaults.schema import ListQuery, VaultCreate, VaultUpdate


def routes(context: Context) -> list[Route]:
    vault = VaultClient(context.bus.core)

    async def create(call: Call) -> Any:
        """Create a vault."""
        params: VaultCreate = call.body
        body = {"display_name": params.display_name, "metadata": params.metadata or {}}
        return await vault.ask(call, "vaults.create", body)

    async def retrieve(call: Call) -> Any:
        """Retrieve a vault."""
        return await vault.ask(call, "vaults.retrieve")

    async def update(call: Call) -> Any:
        """Update a vault."""
        return await vault.ask(call, "vaults.update", given(call.body, "display_name", "metadata"))

    async def archive(call: Call) -> Any:
        """Archive a vault with its credentials: their secrets are gone, the records stay."""
        return await vault.ask(call, "vaults.archive")

    async def delete(call: Call) -> Any:
        """Delete a vault with its credentials, for good."""
        return await vault.ask(call, "vaults.delete")

    async def list_vaults(call: Call) -> Any:
        """List vaults, newest first."""
        return await vault.page(call, "vaults.list")

    one = "/v1/vaults/{vault_id}"
    return [
        Route(method="POST", path="/v1/vaults", handle=create, body=VaultCreate),
        Route(method="GET", path="/v1/vaults", handle=list_vaults, query=ListQuery),
        Route(method="GET", path=one, handle=retrieve),
        Route(method="POST", path=one, handle=update, body=VaultUpdate),
        Route(method="DELETE", path=one, handle=delete),
        Route(method="POST", path=f"{one}/archive", handle=archive),
    ]
