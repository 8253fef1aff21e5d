"""Secrets of webhooks: kept here, and used here to sign. They are never read back."""

import contextlib
from collections.abc import Callable
from typing import Any, Final

from holdfast.bus.errors import Newer
from holdfast.vault import paths
from holdfast.vault.bodies import WebhookRotate
from holdfast.vault.errors import Invalid, Missing, NewerDocument, StoreUnavailable, VersionMismatch
from holdfast.vault.store import Store
from holdfast.vault.webhook_keys import WebhookKeys, decode, encode, is_secret

SECOND_US: Final = 1_000_000


class WebhookSecrets:
    """Every method raises Missing for an id that is none, StoreUnavailable and NewerDocument.

    `now` gives microseconds since 1970, UTC.
    """

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    async def put(self, tenant: str, webhook: str, auth: dict[str, Any]) -> dict[str, Any]:
        """Store `auth["secret"]`, in place of all that there are. Raises Invalid if it is no secret."""
        path = paths.webhook(tenant, webhook)
        await self._put(path, _secret_in(auth), await self._store.version(path))
        return {}

    async def rotate(self, tenant: str, webhook: str, body: WebhookRotate, auth: dict[str, Any]) -> dict[str, Any]:
        """Sign with `auth["secret"]` from now on, and for `overlap_s` also with the secrets that are valid now.

        The answer has `earlier_until`, the microseconds since 1970 until which one of those signs, null if none does.
        Raises Invalid if it is no secret, Missing if there is none to replace, Conflict if too many are valid.
        """
        secret, path, now = _secret_in(auth), paths.webhook(tenant, webhook), self._now()
        keys, version = await self._read(path)
        after = keys.valid_at(now).rotated(secret, overlap_us=body.overlap_s * SECOND_US, now=now)
        await self._put(path, encode(after), version)
        return {"earlier_until": max((one.until for one in after.earlier), default=None)}

    async def delete(self, tenant: str, webhook: str) -> dict[str, Any]:
        """Remove the secrets; there need not be one."""
        await self._store.purge(paths.webhook(tenant, webhook))
        return {}

    async def sign(self, tenant: str, webhook: str, content: bytes) -> dict[str, Any]:
        """The signatures of the content as the header `webhook-signature` has them. Raises Missing without a secret."""
        path = paths.webhook(tenant, webhook)
        keys, version = await self._read(path)
        valid = keys.valid_at(self._now())
        if valid is not keys:
            # A secret that signs no more is removed by the next signature. If that fails, by the one after it.
            with contextlib.suppress(VersionMismatch, StoreUnavailable):
                await self._store.put(path, encode(valid), version)
        return {"signature": valid.signature(content)}

    async def _read(self, path: str) -> tuple[WebhookKeys, int]:
        found = await self._store.get(path)
        if found is None:
            raise Missing("secret of the webhook")
        try:
            return decode(found.text), found.version
        except Newer:
            raise NewerDocument from None

    async def _put(self, path: str, text: str, version: int) -> None:
        try:
            await self._store.put(path, text, version)
        except VersionMismatch:
            raise StoreUnavailable("the secret of the webhook is being changed by others; try again") from None


def _secret_in(auth: dict[str, Any]) -> str:
    secret = auth.get("secret")
    if not isinstance(secret, str) or not is_secret(secret):
        raise Invalid("secret: must be whsec_ and a key of 24 to 64 bytes in base64")
    return secret
