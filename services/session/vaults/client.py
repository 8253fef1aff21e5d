"""The vault service, as the edge asks it: core requests, with what is secret sealed to its public key."""

from typing import Any, Final

import msgspec
from msgspec import UNSET
from nacl.public import PublicKey, SealedBox

from holdfast.bus import subjects
from holdfast.bus.api import Core
from holdfast.bus.commands import VaultReply, VaultRequest
from holdfast.session.http import pagination
from holdfast.session.http.errors import ApiError, not_available, unavailable
from holdfast.session.http.routing import Call
from holdfast.session.vaults.schema import (
    EnvironmentVariable,
    ListQuery,
    McpOauth,
    StaticBearerCreate,
    StaticBearerUpdate,
)

TIMEOUT: Final = 10.0
"""Seconds to wait for the vault service, which gives up by itself before that."""

Auth = StaticBearerCreate | StaticBearerUpdate | McpOauth | EnvironmentVariable


class _PublicKey(msgspec.Struct, frozen=True):
    public_key: bytes


class VaultClient:
    """Raises Problem with what the service answers; NoResponders and Unavailable when it does not."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def request(self, call: Call, verb: str, body: dict[str, Any] | None = None, sealed: bytes = b"") -> Any:
        """Do `verb` on what the path of the call names, and return the object of the wire."""
        request = VaultRequest(
            tenant=call.tenant,
            verb=verb,
            vault=call.id("vault_id") if "vault_id" in call.path else "",
            credential=call.id("credential_id") if "credential_id" in call.path else "",
            body=body or {},
            sealed=sealed,
        )
        return _body(await self._core.request(subjects.VAULT_ADMIN, msgspec.json.encode(request), timeout=TIMEOUT))

    async def page(self, call: Call, verb: str) -> Any:
        """One page of a list, for a call with a `ListQuery`."""
        query: ListQuery = call.query
        bound = [verb, call.tenant, call.path.get("vault_id"), query.include_archived]
        body = {
            "limit": query.limit,
            "after": pagination.position_of(query, bound, str),
            "include_archived": query.include_archived,
        }
        found = await self.request(call, verb, body)
        return pagination.page(found["data"], found["next"], bound)

    async def seal(self, auth: Auth) -> bytes:
        """`auth` for the eyes of the vault service alone: whoever listens on the bus learns its length."""
        if isinstance(auth, McpOauth | EnvironmentVariable):
            raise not_available(f"auth.type: {auth.__struct_config__.tag} credentials are")
        raw = await self._core.request(subjects.VAULT_KEY, b"", timeout=TIMEOUT)
        key = msgspec.convert(_body(raw), _PublicKey).public_key
        return SealedBox(PublicKey(key)).encrypt(msgspec.json.encode(auth))


def given(params: msgspec.Struct, *names: str) -> dict[str, Any]:
    """The named fields that were sent, as the vault service takes them."""
    found = {name: getattr(params, name) for name in names}
    return {name: value for name, value in found.items() if value is not UNSET}


def _body(raw: bytes) -> Any:
    reply = msgspec.json.decode(raw, type=VaultReply)
    if reply.status < 400:
        return reply.body
    if reply.status >= 500:
        raise unavailable("the vault is not available at the moment")
    raise ApiError(reply.status, reply.error, reply.message)
