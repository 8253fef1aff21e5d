"""The key pair with which secrets are sealed on the bus, so that no message carries one in clear.

X25519 and XSalsa20-Poly1305 (`SealedBox` of libsodium). The session service seals to the public key. The private key is
a document in the secret store, which all replicas of the vault service read.
"""

import base64
import binascii

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from holdfast.vault import paths
from holdfast.vault.errors import Invalid, StoreUnavailable, VersionMismatch
from holdfast.vault.store import Store


class SealingKey:
    """The private key in memory. Its repr shows nothing of it."""

    def __init__(self, key: PrivateKey) -> None:
        self._open = SealedBox(key)
        self.public_key = bytes(key.public_key)

    def __repr__(self) -> str:
        return "<SealingKey>"

    def open(self, sealed: bytes) -> bytes:
        """The bytes that were sealed to the public key. Raises Invalid."""
        try:
            return self._open.decrypt(sealed)
        except (CryptoError, ValueError, TypeError):
            raise Invalid("the secret was not sealed to the key of this vault service") from None


async def open_sealing_key(store: Store) -> SealingKey:
    """Read the key, or make it at the first start; if two replicas make one, the first to store it wins.

    Raises StoreUnavailable.
    """
    await store.prepare()
    found = await store.get(paths.SEALING_KEY)
    if found is None:
        key = PrivateKey.generate()
        try:
            await store.put(paths.SEALING_KEY, base64.b64encode(bytes(key)).decode(), 0)
        except VersionMismatch:
            found = await store.get(paths.SEALING_KEY)
        else:
            return SealingKey(key)
    if found is None:
        raise StoreUnavailable("the key of the vault service was removed")
    try:
        return SealingKey(PrivateKey(base64.b64decode(found.text, validate=True)))
    except (binascii.Error, ValueError):
        raise StoreUnavailable("the key of the vault service cannot be read") from None
