"""Locks of sessions: what waits in one session is read for one delivery at a time (rule 4)."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from holdfast.bus.ids import Key


class OneAtATime:
    """A lock for each session, which exists while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[Key, tuple[asyncio.Lock, int]] = {}
        """With the number of those that hold it or wait."""

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def session(self, key: Key) -> AsyncGenerator[None]:
        """Hold the lock of that session."""
        lock, count = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, count + 1
        try:
            async with lock:
                yield
        finally:
            lock, count = self._locks.pop(key)
            if count > 1:
                self._locks[key] = lock, count - 1
