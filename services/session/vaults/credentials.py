"""`/v1/vaults/{vault_id}/credentials`: bodies are checked here, the vault service does the rest.

A secret goes in sealed, and no answer ever has it.
"""

from typing import Any

from msgspec import UnsetType

from holdfast.session.http.errors import invalid
from holdfast.session.http.pagination import Page
from holdfast.session.http.routing import Call, Route
from holdfast.session.vaults.client import VaultClient, given
from holdfast.session.vaults.schema import (
    CredentialCreate,
    CredentialObject,
    CredentialUpdate,
    DeletedCredential,
    ListQuery,
)


class CredentialHandlers:
    def __init__(self, client: VaultClient) -> None:
        self._client = client

    async def create(self, call: Call) -> Any:
        """Create a credential. Its secret can be replaced, but never read."""
        params: CredentialCreate = call.body
        sealed = await self._client.seal(params.auth)
        body = {"display_name": params.display_name, "metadata": params.metadata or {}}
        return await self._client.request(call, "credentials.create", body, sealed)

    async def retrieve(self, call: Call) -> Any:
        """Retrieve a credential, without its secret."""
        return await self._client.request(call, "credentials.retrieve")

    async def update(self, call: Call) -> Any:
        """Update a credential, or replace its secret."""
        params: CredentialUpdate = call.body
        sealed = b"" if isinstance(params.auth, UnsetType) else await self._client.seal(params.auth)
        return await self._client.request(call, "credentials.update", given(params, "display_name", "metadata"), sealed)

    async def archive(self, call: Call) -> Any:
        """Archive a credential: its secret is gone, the record stays."""
        return await self._client.request(call, "credentials.archive")

    async def delete(self, call: Call) -> Any:
        """Delete a credential for good."""
        return await self._client.request(call, "credentials.delete")

    async def list_credentials(self, call: Call) -> Page[Any]:
        """List the credentials of a vault, newest first."""
        return await self._client.page(call, "credentials.list")

    async def validate(self, call: Call) -> Any:
        """Try an OAuth credential; this version holds none, so every request is refused."""
        await self._client.request(call, "credentials.retrieve")
        raise invalid("only mcp_oauth credentials can be validated")


def routes(client: VaultClient) -> list[Route]:
    handlers = CredentialHandlers(client)
    credentials = "/v1/vaults/{vault_id}/credentials"
    credential = f"{credentials}/{{credential_id}}"
    shape, page = CredentialObject, Page[CredentialObject]
    return [
        Route(method="POST", path=credentials, handle=handlers.create, body=CredentialCreate, answer=shape),
        Route(method="GET", path=credentials, handle=handlers.list_credentials, query=ListQuery, answer=page),
        Route(method="GET", path=credential, handle=handlers.retrieve, answer=shape),
        Route(method="POST", path=credential, handle=handlers.update, body=CredentialUpdate, answer=shape),
        Route(method="DELETE", path=credential, handle=handlers.delete, answer=DeletedCredential),
        Route(method="POST", path=f"{credential}/archive", handle=handlers.archive, answer=shape),
        Route(method="POST", path=f"{credential}/mcp_oauth_validate", handle=handlers.validate),
    ]
