"""The secret of a webhook: made by the edge, shown once, kept and used to sign by the vault service."""

import base64
import secrets
from typing import Final

import msgspec

from holdfast.bus import subjects
from holdfast.bus.commands import SignRequest, VaultRequest
from holdfast.session.vaults.client import VaultClient

PREFIX: Final = "whsec_"
"""The first characters of every secret, by which `logs.scrub` knows one."""

KEY_BYTES: Final = 32


class _Signed(msgspec.Struct):
    signature: str


class _Rotated(msgspec.Struct):
    earlier_until: int | None


def new_secret() -> str:
    """A fresh secret in the form of Standard Webhooks."""
    return PREFIX + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


class WebhookSecrets:
    """Every method raises ApiError with the answer of the vault service, and BusError if it does not answer."""

    def __init__(self, vault: VaultClient) -> None:
        self._vault = vault

    async def put(self, tenant: str, webhook: str, secret: str) -> None:
        """Have the secret kept, in place of an earlier one."""
        sealed = await self._vault.seal_bytes(msgspec.json.encode({"secret": secret}))
        request = VaultRequest(tenant=tenant, verb="webhooks.put", webhook=webhook, sealed=sealed)
        await self._vault.ask(subjects.VAULT_ADMIN, msgspec.json.encode(request))

    async def rotate(self, tenant: str, webhook: str, secret: str, overlap_s: int) -> int | None:
        """Have everything signed with the secret from now on, and for `overlap_s` seconds with those before it too.

        Returns until when one of those signs, in microseconds since 1970; None if none does.
        """
        sealed = await self._vault.seal_bytes(msgspec.json.encode({"secret": secret}))
        request = VaultRequest(
            tenant=tenant, verb="webhooks.rotate", webhook=webhook, body={"overlap_s": overlap_s}, sealed=sealed
        )
        answer = await self._vault.ask(subjects.VAULT_ADMIN, msgspec.json.encode(request))
        return msgspec.convert(answer, _Rotated).earlier_until

    async def delete(self, tenant: str, webhook: str) -> None:
        """Have the secret removed; there need not be one."""
        request = VaultRequest(tenant=tenant, verb="webhooks.delete", webhook=webhook)
        await self._vault.ask(subjects.VAULT_ADMIN, msgspec.json.encode(request))

    async def headers(self, tenant: str, webhook: str, *, event_id: str, now_s: int, body: bytes) -> dict[str, str]:
        """The headers of a request, with the signatures of its id, its time in seconds since 1970 and its body."""
        content = f"{event_id}.{now_s}.".encode() + body
        request = SignRequest(tenant=tenant, webhook=webhook, content=content)
        answer = await self._vault.ask(subjects.VAULT_SIGN, msgspec.json.encode(request))
        return {
            "content-type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(now_s),
            "webhook-signature": msgspec.convert(answer, _Signed).signature,
        }
