"""The lease of a duty that one replica does at a time: a key of a bucket, which expires unless its holder renews it.

It saves work, and no more: a replica that was frozen may go on for a moment beside the next holder. Whatever must not
happen twice needs a condition of its own.
"""

import asyncio
from typing import Final

import structlog

from holdfast.bus.api import KeyValue
from holdfast.bus.errors import BusError, Conflict

LEASE_S: Final = 5.0
"""Seconds after which a lease that is not renewed is over."""

RENEWAL_S: Final = 1.5
"""Seconds between two renewals."""

_log = structlog.get_logger()


class Lease:
    """`holder` names this replica."""

    def __init__(self, kv: KeyValue, bucket: str, key: str, holder: str) -> None:
        self._kv = kv
        self._bucket = bucket
        self._key = key
        self._holder = holder.encode()
        self._revision = 0
        self._over_at = 0.0

    async def acquire(self) -> bool:
        """Take the lease if nobody has it. Raises BusError."""
        if await self._kv.get(self._bucket, self._key):
            return False
        began_at = asyncio.get_running_loop().time()
        try:
            self._revision = await self._kv.create(self._bucket, self._key, self._holder, ttl=LEASE_S)
        except Conflict:
            return False
        self._over_at = began_at + LEASE_S
        return True

    async def keep(self) -> None:
        """Renew the lease until it is lost; then return, before another replica can have it."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(RENEWAL_S)
            began_at = clock()
            try:
                async with asyncio.timeout_at(self._over_at - RENEWAL_S):
                    self._revision = await self._kv.update(
                        self._bucket, self._key, self._holder, self._revision, ttl=LEASE_S
                    )
            except (BusError, TimeoutError) as exc:
                _log.warning("a lease is lost", lease=self._key, cause=str(exc) or type(exc).__name__)
                return
            self._over_at = began_at + LEASE_S

    async def release(self) -> None:
        """Give the lease up, so that the next replica need not wait; best effort."""
        try:
            async with asyncio.timeout(RENEWAL_S):
                await self._kv.delete(self._bucket, self._key)
        except (BusError, TimeoutError):
            return
