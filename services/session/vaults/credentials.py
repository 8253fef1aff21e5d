"""`/v1/vaults/{vault_id}/credentials`: checked here, kept by the vault service. Secrets go in and never come out."""

from typing import Any

from msgspec import UnsetType

from holdfast.session.context import Context
from holdfast.session.http.errors import invalid
from holdfast.session.http.routing import Call, Route
from holdfast.session.vaults.client import VaultClient, given
from holdfast.session.vaults.schema import CredentialCreate, CredentialUpdate, ListQuery


def routes(context: Context) -> list[Route]:
    vault = VaultClient(context.bus.core)

    async def create(call: Call) -> Any:
        """Create a credential. Its secret can be replaced, but never read."""
        params: CredentialCreate = call.body
        sealed = await vault.seal(params.auth)
        body = {"display_name": params.display_name, "metadata": params.metadata or {}}
        return await vault.ask(call, "credentials.create", body, sealed)

    async def retrieve(call: Call) -> Any:
        """Retrieve a credential, without its secret."""
        return await vault.ask(call, "credentials.retrieve")

    async def update(call: Call) -> Any:
        """Update a credential, or replace its secret."""
        params: CredentialUpdate = call.body
        sealed = b"" if isinstance(params.auth, UnsetType) else await vault.seal(params.auth)
        return await vault.ask(call, "credentials.update", given(params, "display_name", "metadata"), sealed)

    async def archive(call: Call) -> Any:
        """Archive a credential: its secret is gone, the record stays."""
        return await vault.ask(call, "credentials.archive")

    async def delete(call: Call) -> Any:
        """Delete a credential for good."""
        return await vault.ask(call, "credentials.delete")

    async def list_credentials(call: Call) -> Any:
        """List the credentials of a vault, newest first."""
        return await vault.page(call, "credentials.list")

    async def validate(call: Call) -> Any:
        """Try an OAuth credential; this version holds none."""
        await vault.ask(call, "credentials.retrieve")
        raise invalid("only mcp_oauth credentials can be validated")

    every = "/v1/vaults/{vault_id}/credentials"
    one = f"{every}/{{credential_id}}"
    return [
        Route(method="POST", path=every, handle=create, body=CredentialCreate),
        Route(method="GET", path=every, handle=list_credentials, query=ListQuery),
        Route(method="GET", path=one, handle=retrieve),
        Route(method="POST", path=one, handle=update, body=CredentialUpdate),
        Route(method="DELETE", path=one, handle=delete),
        Route(method="POST", path=f"{one}/archive", handle=archive),
        Route(method="POST", path=f"{one}/mcp_oauth_validate", handle=validate),
    ]
