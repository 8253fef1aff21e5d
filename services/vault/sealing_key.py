"""The key that secrets are sealed with on their way over the bus, so that no message ever carries one in clear.

X25519 and XSalsa20-Poly1305 (`SealedBox` of libsodium). The private key lies in the secret store, for all replicas.
"""

import base64
import binascii

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from holdfast.vault import paths
from holdfast.vault.errors import Invalid, StoreUnavailable, VersionMismatch
from holdfast.vault.store import Store


class SealingKey:
    """The opened key. Its repr shows nothing."""

    def __init__(self, key: PrivateKey) -> None:
        self._open = SealedBox(key)
        self.public_key = bytes(key.public_key)

    def __repr__(self) -> str:
        return "<SealingKey>"

    def open(self, sealed: bytes) -> bytes:
        """What was sealed to the public key. Raises Invalid."""
        try:
            return self._open.decrypt(sealed)
        except (CryptoError, ValueError, TypeError):
            raise Invalid("auth: was not sealed to the key of this vault service") from None


async def open_sealing_key(store: Store) -> SealingKey:
    """Read the key, or make it if this is the first start; of two replicas one wins. Raises Closed."""
    await store.prepare()
    found = await store.get(paths.BOX)
    if found is None:
        key = PrivateKey.generate()
        try:
            await store.put(paths.BOX, base64.b64encode(bytes(key)).decode(), 0)
        except VersionMismatch:
            found = await store.get(paths.BOX)
        else:
            return SealingKey(key)
    try:
        return SealingKey(PrivateKey(base64.b64decode(found.text, validate=True))) if found else _lost()
    except (binascii.Error, ValueError):
        raise StoreUnavailable("the key of the vault service cannot be read") from None


def _lost() -> SealingKey:
    raise StoreUnavailable("the key of the vault service was removed")
