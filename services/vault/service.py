"""Answers the three subjects of the vault service on the bus. README.md lists the verbs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
import structlog

from holdfast.bus.commands import SignRequest, VaultReply, VaultRequest
from holdfast.bus.errors import Damaged, Newer
from holdfast.bus.records import decode_record
from holdfast.vault.bodies import (
    CredentialCreate,
    CredentialUpdate,
    ListQuery,
    SigningKeep,
    SigningName,
    SigningOpen,
    VaultCreate,
    VaultUpdate,
    WebhookRotate,
    read,
)
from holdfast.vault.credentials import Credentials
from holdfast.vault.errors import Invalid, NewerDocument, StoreUnavailable, VaultProblem
from holdfast.vault.request_span import request_span
from holdfast.vault.sealing_key import SealingKey
from holdfast.vault.signing import SigningSecrets
from holdfast.vault.vaults import Vaults
from holdfast.vault.webhooks import WebhookSecrets

log = structlog.get_logger()

REQUEST_TIMEOUT_S: Final = 8.0
"""Time that one request may take in all; the session service waits longer."""

R = TypeVar("R", VaultRequest, SignRequest)

Verb = Callable[[VaultRequest], Awaitable[Any]]


class Service:
    """Handlers of VAULT_ADMIN, VAULT_KEY and VAULT_SIGN. `sealing_key` gives the key or raises StoreUnavailable."""

    def __init__(
        self,
        vaults: Vaults,
        credentials: Credentials,
        webhooks: WebhookSecrets,
        signing: SigningSecrets,
        sealing_key: Callable[[], Awaitable[SealingKey]],
    ) -> None:
        self._sealing_key = sealing_key
        self._webhooks = webhooks
        self._vaults = vaults
        self._credentials = credentials
        self._signing = signing
        self._verbs: dict[str, Verb] = {
            "vaults.create": lambda r: vaults.create(r.tenant, read(VaultCreate, r.body)),
            "vaults.retrieve": lambda r: vaults.retrieve(r.tenant, r.vault),
            "vaults.update": lambda r: vaults.update(r.tenant, r.vault, read(VaultUpdate, r.body)),
            "vaults.list": lambda r: vaults.list(r.tenant, read(ListQuery, r.body)),
            "vaults.archive": self._archive_vault,
            "vaults.delete": lambda r: vaults.delete(r.tenant, r.vault),
            "credentials.create": self._create_credential,
            "credentials.retrieve": lambda r: credentials.retrieve(r.tenant, r.vault, r.credential),
            "credentials.update": self._update_credential,
            "credentials.list": lambda r: credentials.list(r.tenant, r.vault, read(ListQuery, r.body)),
            "credentials.archive": lambda r: credentials.archive(r.tenant, r.vault, r.credential),
            "signing.keep": self._keep_signing,
            "signing.open": lambda r: signing.open(r.tenant, read(SigningOpen, r.body)),
            "signing.remove": lambda r: signing.remove(r.tenant, read(SigningName, r.body)),
            "credentials.delete": lambda r: credentials.delete(r.tenant, r.vault, r.credential),
            "webhooks.put": self._put_webhook,
            "webhooks.rotate": self._rotate_webhook,
            "webhooks.delete": lambda r: webhooks.delete(r.tenant, r.webhook),
        }

    async def admin(self, data: bytes) -> bytes:
        """Handler of VAULT_ADMIN. Every error that a caller can cause becomes a VaultReply."""
        return msgspec.json.encode(await self._answer(data))

    async def key(self, _data: bytes) -> bytes:
        """Handler of VAULT_KEY: the reply's body is `{"public_key": base64}`."""
        try:
            return msgspec.json.encode(VaultReply(body={"public_key": (await self._sealing_key()).public_key}))
        except StoreUnavailable as exc:
            return msgspec.json.encode(_refusal(exc))

    async def sign(self, data: bytes) -> bytes:
        """Handler of VAULT_SIGN, as `admin`."""
        return msgspec.json.encode(await _reply(SignRequest, data, self._sign))

    async def _sign(self, r: SignRequest) -> Any:
        with request_span("webhooks.sign"):
            return await self._webhooks.sign(r.tenant, r.webhook, r.content)

    async def _answer(self, data: bytes) -> VaultReply:
        return await _reply(VaultRequest, data, self._do)

    async def _do(self, request: VaultRequest) -> Any:
        verb = self._verbs.get(request.verb)
        if verb is None:
            raise Invalid("verb: not known")
        with request_span(request.verb):
            body = await verb(request)
        log.info("vault.admin", verb=request.verb, tenant=request.tenant, vault=request.vault or None)
        return body

    async def _archive_vault(self, r: VaultRequest) -> dict[str, Any]:
        return await self._vaults.archive(
            r.tenant, r.vault, lambda credential_id: self._credentials.archive(r.tenant, r.vault, credential_id)
        )

    async def _create_credential(self, r: VaultRequest) -> dict[str, Any]:
        body = read(CredentialCreate, r.body)
        return await self._credentials.create(r.tenant, r.vault, body, await self._auth(r.sealed))

    async def _update_credential(self, r: VaultRequest) -> dict[str, Any]:
        body = read(CredentialUpdate, r.body)
        auth = await self._auth(r.sealed) if r.sealed else None
        return await self._credentials.update(r.tenant, r.vault, r.credential, body, auth)

    async def _keep_signing(self, r: VaultRequest) -> dict[str, Any]:
        plain = (await self._sealing_key()).open(r.sealed)
        return await self._signing.keep(r.tenant, read(SigningKeep, r.body), plain)

    async def _put_webhook(self, r: VaultRequest) -> dict[str, Any]:
        return await self._webhooks.put(r.tenant, r.webhook, await self._auth(r.sealed))

    async def _rotate_webhook(self, r: VaultRequest) -> dict[str, Any]:
        return await self._webhooks.rotate(r.tenant, r.webhook, read(WebhookRotate, r.body), await self._auth(r.sealed))

    async def _auth(self, sealed: bytes) -> dict[str, Any]:
        if not sealed:
            raise Invalid("auth: required")
        plain = (await self._sealing_key()).open(sealed)
        try:
            return msgspec.json.decode(plain, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise Invalid("auth: must be an object") from None


async def _reply(kind: type[R], data: bytes, do: Callable[[R], Awaitable[Any]]) -> VaultReply:
    """What `do` makes of the request; every error that a caller can cause is a reply too."""
    try:
        request = decode_record(kind, data)
    except Newer:
        return _refusal(NewerDocument())
    except Damaged:
        return _refusal(Invalid("the request cannot be read"))
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return VaultReply(body=await do(request))
    except TimeoutError:
        return _refusal(StoreUnavailable("the secret store is too slow"))
    except VaultProblem as exc:
        return _refusal(exc)


def _refusal(problem: VaultProblem) -> VaultReply:
    return VaultReply(status=problem.status, error=problem.kind, message=str(problem))
