"""Wiring of the vault service."""

import asyncio
import random
import time
from functools import partial
from typing import Final

import structlog

from holdfast.bus import subjects
from holdfast.bus.jetstream.client import connect
from holdfast.bus.jetstream.readiness import watch_bus
from holdfast.process import clock
from holdfast.process.backoff import Backoff
from holdfast.process.health import Health
from holdfast.process.lifecycle import launch
from holdfast.process.supervision import supervised
from holdfast.vault import paths
from holdfast.vault.credentials import Credentials
from holdfast.vault.errors import StoreUnavailable
from holdfast.vault.sealing_key import SealingKey, open_sealing_key
from holdfast.vault.service import Service
from holdfast.vault.settings import VaultSettings
from holdfast.vault.signing import SigningSecrets
from holdfast.vault.store import Store
from holdfast.vault.vaults import Vaults
from holdfast.vault.webhooks import WebhookSecrets

log = structlog.get_logger()

QUEUE: Final = "vault"
"""Queue group of the replicas: each request goes to one of them."""

FIRST_STORE_CHECK_INTERVAL_S: Final = 0.05
"""Time between two checks of the store until it has answered for the first time."""

STORE_CHECK_INTERVAL_S: Final = 2.0
"""Time between two checks of the store after its first answer."""

REQUESTS_PER_CHECK: Final = 4
"""Requests to the store within which a check has a result; each may take HOLDFAST_VAULT_TIMEOUT seconds."""

STORE_READ_INTERVAL_S: Final = 30.0
"""Time between two checks that read a document, while the store answers. Only a read fails when the disk of the audit
log is full; the health answer of the server does not. Each read adds two lines to the audit log, so it is rare."""


class StoreProbe:
    """Reads the sealing key when the store first answers, and checks whether the store answers now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sealing_key: SealingKey | None = None
        self._read_due_at = 0.0
        """Time (monotonic, s) from which the next check reads a document."""

    async def sealing_key(self) -> SealingKey:
        """The key of the service, read once. Raises StoreUnavailable."""
        if self._sealing_key is None:
            self._sealing_key = await open_sealing_key(self._store)
        return self._sealing_key

    async def check(self) -> None:
        """Ask for the health of the store, or read a document if that is due. Raises StoreUnavailable."""
        if time.monotonic() < self._read_due_at:
            await self._store.ping()
            return
        await self.sealing_key()
        await self._store.get(paths.SEALING_KEY)
        self._read_due_at = time.monotonic() + STORE_READ_INTERVAL_S

    def require_read(self) -> None:
        """Make the next check read a document."""
        self._read_due_at = 0.0


async def serve(settings: VaultSettings, stop: asyncio.Event) -> None:
    """Answer requests until `stop` is set, then finish those in progress."""
    store = Store(settings)
    probe = StoreProbe(store)
    vaults = Vaults(store, clock.now)
    credentials = Credentials(store, vaults, clock.now, loopback=settings.mcp_loopback)
    webhooks, signing = WebhookSecrets(store, clock.now), SigningSecrets(store, clock.now)
    service = Service(vaults, credentials, webhooks, signing, probe.sealing_key)
    health = Health("vault", "bus", "store")
    async with health.serve(settings.health_port, settings.health_host):
        bus = await connect(settings, name="vault", uses_streams=False)
        admin = await bus.core.serve(subjects.VAULT_ADMIN, service.admin, queue=QUEUE)
        key = await bus.core.serve(subjects.VAULT_KEY, service.key, queue=QUEUE)
        sign = await bus.core.serve(subjects.VAULT_SIGN, service.sign, queue=QUEUE)
        log.info("ready", url=settings.vault_url)
        valid_s = STORE_CHECK_INTERVAL_S + REQUESTS_PER_CHECK * settings.vault_timeout
        duties = {"bus": partial(watch_bus, bus, health), "store": partial(_watch_store, health, probe, valid_s)}
        watching = [
            asyncio.create_task(supervised(duty, health.note, name=name), name=name) for name, duty in duties.items()
        ]
        try:
            await stop.wait()
        finally:
            health.stop()
            for task in watching:
                task.cancel()
            await admin.close()
            await key.close()
            await sign.close()
            await bus.close()
            await store.close()


async def _watch_store(health: Health, probe: StoreProbe, valid_s: float) -> None:
    """Set the check `store` of the health report until cancelled; each result holds for `valid_s` seconds."""
    was_available: bool | None = None
    interval_s = FIRST_STORE_CHECK_INTERVAL_S
    while True:
        try:
            await probe.check()
        except StoreUnavailable:
            probe.require_read()
            available = False
        else:
            available = True
            interval_s = STORE_CHECK_INTERVAL_S
        health.set("store", available, valid_s=valid_s)
        if available is not was_available:
            log.info("store.available" if available else "store.unavailable")
        was_available = available
        # With jitter, since a store that hung lets go of all replicas at once.
        await asyncio.sleep(Backoff(first_s=interval_s, longest_s=interval_s).pause_s(1, random.random()))  # noqa: S311


def main() -> None:
    launch("vault", VaultSettings, serve)
