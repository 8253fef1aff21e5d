"""Removes what is left of deleted sessions on this host: the request at the delete may have met no worker."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Release
from holdfast.bus.errors import Newer
from holdfast.bus.ids import Key
from holdfast.sandbox.drivers.driver import Driver
from holdfast.sandbox.placement import BUCKET, placement_of

log = structlog.get_logger()

LOOK_INTERVAL_S: Final = 3600.0
"""Seconds between two looks at all sessions of this host. The first is at the start."""

REPEAT_INTERVAL_S: Final = 20.0
"""Seconds until the next look if one has found a deleted session; four times as many after each further one. Its
placement stays while it names another worker that is registered: that one may end the sandbox, or be dead, and then its
registration expires."""

SESSION_PAUSE_S: Final = 0.02
"""Seconds between two sessions, so that a host with very many does not load the bus."""


class Deletions:
    """`release` ends the sandbox of a session and removes its files."""

    def __init__(self, bus: Bus, driver: Driver, release: Callable[[Release], Awaitable[object]], cell: str) -> None:
        self._log = bus.log
        self._kv = bus.kv
        self._driver = driver
        self._release = release
        self._cell = cell

    async def remove_deleted_sessions(self) -> None:
        """Look again and again, until cancelled. Raises BusError and OSError."""
        repeat_s = REPEAT_INTERVAL_S
        while True:
            found = 0
            for key in await self._sessions():
                if key.cell == self._cell and await self._is_deleted(key):
                    log.info("the files of a deleted session are removed", session=key.session)
                    await self._release(Release(tenant=key.tenant, session=key.session, files=True))
                    found += 1
                await asyncio.sleep(SESSION_PAUSE_S)
            await asyncio.sleep(min(repeat_s, LOOK_INTERVAL_S) if found else LOOK_INTERVAL_S)
            repeat_s = 4 * repeat_s if found else REPEAT_INTERVAL_S

    async def _sessions(self) -> set[Key]:
        """The sessions that have files on this host, or a placement that names it. Raises BusError and OSError."""
        found = set(await self._driver.sessions())
        for entry in await self._kv.list(BUCKET, subjects.placement_keys(self._cell)):
            with contextlib.suppress(Newer, ValueError):  # of a newer worker
                if placement_of(entry.value).host == self._driver.host:
                    found.add(subjects.placed(entry.key)[0])
        return found

    async def _is_deleted(self, key: Key) -> bool:
        """Whether the last commit is a tombstone. A session that has no log, or that a newer version wrote, is not."""
        try:
            stored = await self._log.head(key)
        except Newer:
            return False
        return stored is not None and bool(stored.commit.head.deleted)
