"""Secrets of signed webhooks, as the edge uses them: the vault service keeps them, and each way they are sealed."""

from typing import Final

import msgspec
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from holdfast.session.http.errors import unavailable
from holdfast.session.vaults.client import VaultClient

MAX_REMEMBERED: Final = 1_000
"""Sets of secrets in memory; the one that was read first is forgotten first."""


class SigningSecrets:
    """Every method raises ApiError, NoResponders and Unavailable. An id names the same secrets for ever."""

    def __init__(self, vaults: VaultClient) -> None:
        self._vaults = vaults
        self._remembered: dict[tuple[str, str, str], tuple[str, ...]] = {}

    async def keep(self, tenant: str, kind: str, secrets: list[str], *, in_use: str) -> str:
        """Store them under a new id. `in_use` is the id that the binding of the kind names now, if it has one."""
        sealed = await self._vaults.seal_bytes(msgspec.json.encode(secrets))
        kept = await self._vaults.signing(tenant, "keep", {"kind": kind, "in_use": in_use}, sealed)
        return str(kept["id"])

    async def remove(self, tenant: str, kind: str, secrets_id: str) -> None:
        """Remove them, if they are there."""
        self._remembered.pop((tenant, kind, secrets_id), None)
        await self._vaults.signing(tenant, "remove", {"kind": kind, "id": secrets_id})

    async def get(self, tenant: str, kind: str, secrets_id: str) -> tuple[str, ...]:
        """The secrets, from memory once they were read."""
        key = (tenant, kind, secrets_id)
        found = self._remembered.get(key)
        if found is None:
            found = await self._open(tenant, kind, secrets_id)
            self._remembered[key] = found
            if len(self._remembered) > MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
        return found

    async def _open(self, tenant: str, kind: str, secrets_id: str) -> tuple[str, ...]:
        private = PrivateKey.generate()
        body = {"kind": kind, "id": secrets_id, "public_key": bytes(private.public_key)}
        answer = await self._vaults.signing(tenant, "open", body)
        try:
            sealed = msgspec.convert(answer["sealed"], bytes)
            return tuple(msgspec.json.decode(SealedBox(private).decrypt(sealed), type=list[str]))
        except (CryptoError, ValueError, msgspec.MsgspecError):
            raise unavailable("the answer of the vault cannot be read") from None
