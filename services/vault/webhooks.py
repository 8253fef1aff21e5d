"""Secrets of webhooks: kept here, and used here to sign. They are never read back.

The signature is that of Standard Webhooks, version 1: HMAC-SHA256 with the secret, in base64.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final

from holdfast.vault import paths
from holdfast.vault.errors import Invalid, Missing, StoreUnavailable, VersionMismatch
from holdfast.vault.store import Store

_PREFIX: Final = "whsec_"
"""The first characters of a secret; its key in base64 follows."""

MIN_KEY_BYTES: Final = 24
MAX_KEY_BYTES: Final = 64
"""Bytes of a key, by the specification."""


class WebhookSecrets:
    """Every method raises Missing for an id that is none, and StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, tenant: str, webhook: str, auth: dict[str, Any]) -> dict[str, Any]:
        """Store `auth["secret"]`, in place of another one if there is one. Raises Invalid if it is no secret."""
        secret = auth.get("secret")
        if not isinstance(secret, str) or not _is_secret(secret):
            raise Invalid("secret: must be whsec_ and a key of 24 to 64 bytes in base64")
        path = paths.webhook(tenant, webhook)
        try:
            await self._store.put(path, secret, await self._store.version(path))
        except VersionMismatch:
            raise StoreUnavailable("the secret of the webhook is being changed by others; try again") from None
        return {}

    async def delete(self, tenant: str, webhook: str) -> dict[str, Any]:
        """Remove the secret; there need not be one."""
        await self._store.purge(paths.webhook(tenant, webhook))
        return {}

    async def sign(self, tenant: str, webhook: str, content: bytes) -> dict[str, Any]:
        """The signature of the content as the header `webhook-signature` has it. Raises Missing without a secret."""
        found = await self._store.get(paths.webhook(tenant, webhook))
        if found is None:
            raise Missing("secret of the webhook")
        digest = hmac.digest(_key(found.text), content, hashlib.sha256)
        return {"signature": f"v1,{base64.b64encode(digest).decode()}"}


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)


def _is_secret(text: str) -> bool:
    try:
        return text.startswith(_PREFIX) and MIN_KEY_BYTES <= len(_key(text)) <= MAX_KEY_BYTES
    except (binascii.Error, ValueError):
        return False
