"""Wiring of the vault service."""

import asyncio
import time
from typing import Final

import structlog

from services.bus import subjects
from services.bus.client import NatsBus, connect
from services.process.health import Health
from services.process.lifecycle import forbid_inspection, launch
from services.vault.box import Box, open_box
from services.vault.credentials import Credentials
from services.vault.errors import Closed
from services.vault.service import Service
from services.vault.settings import VaultSettings
from services.vault.store import Store
from services.vault.vaults import Vaults

log = structlog.get_logger()

QUEUE: Final = "vault"
CHECK_EVERY: Final = 2.0
CHECK_FIRST: Final = 0.05
"""Seconds between two looks at the store: while it answers, and while it has not yet or does not."""


def _now() -> int:
    return time.time_ns() // 1000


class Opened:
    """The key of the service, read once it can be had. Asking is also the readiness check: it is a real read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._box: Box | None = None

    async def box(self) -> Box:
        """Raises Closed."""
        if self._box is None:
            self._box = await open_box(self._store)
        return self._box

    async def check(self) -> None:
        """Read from the store now, with our own login. Raises Closed."""
        await self.box()
        await self._store.get("service/box")


async def serve(settings: VaultSettings, stop: asyncio.Event) -> None:
    """Answer until `stop`, then finish what is in hand."""
    forbid_inspection()
    store = Store(settings)
    opened = Opened(store)
    vaults = Vaults(store, _now)
    credentials = Credentials(store, vaults, _now, loopback=settings.mcp_loopback)
    service = Service(vaults, credentials, opened.box)
    health = Health("vault", "bus", "store")
    async with health.serve(settings.health_port):
        bus = await connect(settings, name="vault")
        admin = await bus.serve(subjects.VAULT_ADMIN, service.admin, queue=QUEUE)
        key = await bus.serve(subjects.VAULT_KEY, service.key, queue=QUEUE)
        log.info("ready", url=settings.vault_url)
        watching = asyncio.create_task(_watch(health, bus, opened))
        try:
            await stop.wait()
        finally:
            health.stop()
            watching.cancel()
            await admin.close()
            await key.close()
            await bus.close()
            await store.close()


async def _watch(health: Health, bus: NatsBus, opened: Opened) -> None:
    """Keep the checks current."""
    was: bool | None = None
    while True:
        health.set("bus", bus.connected)
        try:
            await opened.check()
        except Closed:
            ok = False
        else:
            ok = True
        health.set("store", ok)
        if ok is not was:
            log.info("store", available=ok)
            was = ok
        await asyncio.sleep(CHECK_EVERY if ok else CHECK_FIRST if not health.ready else CHECK_EVERY)


def main() -> None:
    launch("vault", VaultSettings, serve)
