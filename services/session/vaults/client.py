"""Requests of the edge to the vault service, over the bus. Secrets are sealed to its public key."""

from typing import Any, Final

import msgspec
from msgspec import UNSET
from nacl.public import PublicKey, SealedBox

from holdfast.bus import credentials, subjects
from holdfast.bus.api import Core
from holdfast.bus.commands import VaultReply, VaultRequest
from holdfast.bus.records import decode_record
from holdfast.session.http import pagination
from holdfast.session.http.errors import ApiError, not_available, unavailable
from holdfast.session.http.pagination import Page
from holdfast.session.http.routing import Call
from holdfast.session.vaults.schema import ListQuery

REQUEST_TIMEOUT_S: Final = 10.0
"""Longest wait for the vault service, whose own deadline is shorter."""


class _PublicKey(msgspec.Struct, frozen=True):
    public_key: bytes


class VaultClient:
    """Raises ApiError with the answer of the service; NoResponders and Unavailable when there is none."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def request(self, call: Call, verb: str, body: dict[str, Any] | None = None, sealed: bytes = b"") -> Any:
        """Do `verb` on the vault or credential in the path of the call; the answer is the body of the HTTP answer."""
        request = VaultRequest(
            tenant=call.tenant,
            verb=verb,
            vault=call.id("vault_id") if "vault_id" in call.path else "",
            credential=call.id("credential_id") if "credential_id" in call.path else "",
            body=body or {},
            sealed=sealed,
        )
        return await self.ask(subjects.VAULT_ADMIN, msgspec.json.encode(request))

    async def page(self, call: Call, verb: str) -> Page[Any]:
        """One page of a list, for a call whose query is a `ListQuery`."""
        query: ListQuery = call.query
        bound = [verb, call.tenant, call.path.get("vault_id"), query.include_archived]
        body = {
            "limit": query.limit,
            "after": pagination.position_of(query, bound, str),
            "include_archived": query.include_archived,
        }
        found = await self.request(call, verb, body)
        return pagination.page(found["data"], found["next"], bound)

    async def seal(self, auth: credentials.Auth) -> bytes:
        """`auth` encrypted for the vault service: others on the bus can learn only its length.

        Raises ApiError 400 for a kind that this version lacks.
        """
        kind = credentials.name_of(auth)
        if kind in credentials.UNAVAILABLE:
            raise not_available(f"auth.type: {kind} credentials are")
        return await self.seal_bytes(msgspec.json.encode(auth))

    async def signing(self, tenant: str, verb: str, body: dict[str, Any], sealed: bytes = b"") -> Any:
        """Do `verb` on the secrets with which webhooks of a kind of tasks are signed."""
        request = VaultRequest(tenant=tenant, verb=f"signing.{verb}", body=body, sealed=sealed)
        return await self.ask(subjects.VAULT_ADMIN, msgspec.json.encode(request))

    async def seal_bytes(self, plain: bytes) -> bytes:
        """As `seal`, for a JSON object that is no credential."""
        answer = await self.ask(subjects.VAULT_KEY, b"")
        key = msgspec.convert(answer, _PublicKey).public_key
        return SealedBox(PublicKey(key)).encrypt(plain)

    async def ask(self, subject: str, data: bytes) -> Any:
        """The body of the reply to a request of that subject."""
        raw = await self._core.request(subject, data, timeout=REQUEST_TIMEOUT_S)
        reply = decode_record(VaultReply, raw)
        if reply.status < 400:
            return reply.body
        if reply.status >= 500:
            raise unavailable("the vault is not available at the moment")
        raise ApiError(reply.status, reply.error, reply.message)


def given(params: msgspec.Struct, *names: str) -> dict[str, Any]:
    """The named fields that the client has sent, by name."""
    values = {name: getattr(params, name) for name in names}
    return {name: value for name, value in values.items() if value is not UNSET}
