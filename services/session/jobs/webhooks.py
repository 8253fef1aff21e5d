"""Sends webhooks from the public events of a cell (rule 36): one replica at a time, for all endpoints of all tenants.

Each endpoint has a task of its own, so a slow one slows no other. The replica that dies loses nothing: how far each
endpoint is stands in its progress, and the next replica goes on there.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from holdfast.bus.api import KeyValue, PublicReads
from holdfast.bus.errors import BusError
from holdfast.bus.ids import new_id
from holdfast.bus.public_events import PublicState
from holdfast.process.backoff import Backoff
from holdfast.process.retry import keep_watching
from holdfast.process.supervision import supervised
from holdfast.session.http.errors import ApiError
from holdfast.session.jobs.lease import Lease
from holdfast.session.webhooks.attempt import Attempts
from holdfast.session.webhooks.runner import Rules, Runner
from holdfast.session.webhooks.store import BUCKET, WebhookStore

STANDBY_INTERVAL_S: Final = 1.0
"""Seconds between two looks of a replica that does not send."""

POLL_INTERVAL_S: Final = 0.25
"""Seconds between two looks for new events and changed webhooks; so late is a webhook at most."""

_RUNNER_BACKOFF: Final = Backoff(first_s=1.0, longest_s=15.0)
"""Pauses before a runner begins again, while the bus or the vault service is away."""

_log = structlog.get_logger()

Name = tuple[str, str]
"""Tenant and id of a webhook."""


class Webhooks:
    """The webhooks of one cell. `now` is the clock, in microseconds since 1970."""

    def __init__(
        self,
        kv: KeyValue,
        reads: PublicReads,
        store: WebhookStore,
        attempts: Attempts,
        *,
        rules: Rules,
        now: Callable[[], int],
        cell: str,
    ) -> None:
        self._reads = reads
        self._store = store
        self._runner = partial(Runner, reads, store, attempts, rules=rules, now=now, cell=cell)
        self._cell = cell
        self._lease = Lease(kv, BUCKET, f"lease.{cell}.sender", new_id("snd"))
        self._running: dict[Name, tuple[Runner, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Send or stand by until cancelled."""
        await keep_watching(self._turn, on=BusError, what="webhooks", cell=self._cell)

    async def _turn(self) -> None:
        """Wait until this replica sends; return when it must not any more. Raises BusError."""
        while not (self._store.objects.revisions() and await self._lease.acquire()):  # noqa: ASYNC110  of all replicas
            await asyncio.sleep(STANDBY_INTERVAL_S)
        _log.info("sends webhooks", cell=self._cell)
        kept = asyncio.create_task(self._lease.keep(), name=f"webhooks-lease-{self._cell}")
        try:
            await self._send(kept)
        finally:
            still_ours = not kept.done()
            tasks = [kept, *(task for _, task in self._running.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._running.clear()
            if still_ours:
                await self._lease.release()

    async def _send(self, kept: asyncio.Task[None]) -> None:
        """Have a runner for each webhook while the lease is kept."""
        seen: PublicState | None = None
        known: dict[Name, int] = {}
        while not kept.done():
            state, revisions = await self._reads.state(self._cell), self._store.objects.revisions()
            if state:
                self._reconcile(set(revisions), state)
                for name, (runner, _) in self._running.items():
                    if state != seen or known.get(name) != revisions[name]:
                        runner.wake(state)
            seen, known = state, revisions
            await asyncio.wait([kept], timeout=POLL_INTERVAL_S)

    def _reconcile(self, names: set[Name], state: PublicState) -> None:
        """Start the runners of new webhooks, and stop those of deleted ones."""
        for name in self._running.keys() - names:
            self._running.pop(name)[1].cancel()
        for tenant, webhook_id in names - self._running.keys():
            runner = self._runner(tenant=tenant, webhook_id=webhook_id, state=state)
            deliver = partial(
                keep_watching, runner.run, on=(BusError, ApiError), what="webhook", backoff=_RUNNER_BACKOFF,
                webhook=webhook_id,
            )  # fmt: skip
            task = asyncio.create_task(supervised(deliver, name="webhook"), name=f"webhook-{webhook_id}")
            self._running[tenant, webhook_id] = runner, task
