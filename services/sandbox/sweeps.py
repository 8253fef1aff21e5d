"""The background duties of a worker: hands of dead workers, idle sandboxes, and whether sandboxes can be made."""

import asyncio
from typing import Final

import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.errors import BusError
from holdfast.process.retry import keep_watching, retrying
from holdfast.sandbox import results
from holdfast.sandbox.availability import Availability
from holdfast.sandbox.drivers.driver import Driver, SandboxUnavailable
from holdfast.sandbox.placement import BUCKET
from holdfast.sandbox.sandboxes import Sandboxes
from holdfast.sandbox.waiting import loop_time, wait_for_event

log = structlog.get_logger()

DEAD_WORKERS_SWEEP_INTERVAL_S: Final = 30.0
"""Seconds between two sweeps for hands of dead workers. A registration that expires starts a sweep at once."""

SWEEP_PAUSE_FACTOR: Final = 10
"""The pause is at least this many times as long as the sweep before it: one over 100,000 sessions takes some 20 s."""

IDLE_SWEEP_INTERVAL_S: Final = 1.0
"""Seconds between two sweeps for idle sandboxes."""


class Sweeps:
    """Each method but the constructor runs until it is cancelled, in a task of its own."""

    def __init__(
        self,
        bus: Bus,
        driver: Driver,
        sandboxes: Sandboxes,
        availability: Availability,
        *,
        cell: str,
        worker_id: str,
        idle_after_s: float,
        probe_interval_s: float,
    ) -> None:
        """`idle_after_s`: seconds without a call after which a sandbox is ended. `probe_interval_s`: seconds after
        which it is tried whether sandboxes can be made, if none was made meanwhile.
        """
        self._bus = bus
        self._driver = driver
        self._sandboxes = sandboxes
        self._availability = availability
        self._cell = cell
        self._worker_id = worker_id
        self._idle_after_s = idle_after_s
        self._probe_interval_s = probe_interval_s
        self._expired = asyncio.Event()
        self._sweep_took_s = 0.0
        self._unreadable: set[str] = set()
        """Keys of placements that were logged as unreadable."""

    async def watch_registrations(self) -> None:
        """Start a sweep for dead workers at the beginning and whenever a registration ends (rule 17)."""
        await keep_watching(self._watch_registrations, on=BusError, what="registrations of workers")

    async def _watch_registrations(self) -> None:
        async for entry in self._bus.kv.watch(BUCKET, subjects.worker_keys(self._cell)):
            if entry is None or entry.value is None:
                self._expired.set()

    async def report_dead_workers(self) -> None:
        """Report the hands whose worker died, on this host or on another (rule 17)."""
        while True:
            await wait_for_event(
                self._expired, max(DEAD_WORKERS_SWEEP_INTERVAL_S, SWEEP_PAUSE_FACTOR * self._sweep_took_s)
            )
            self._expired.clear()
            count = await retrying(self._report_dead_workers, on=BusError, what="sweep for dead workers")
            if count:
                log.warning("hands of dead workers were reported", count=count)

    async def _report_dead_workers(self) -> int:
        # The driver knows workers of this host that died: their registrations need not expire first.
        for dead_id in await self._driver.collect():
            await self._bus.kv.delete(BUCKET, subjects.worker_key(self._cell, dead_id))
        began_at = loop_time()
        count = await results.report_dead_workers(self._bus, self._cell, self._worker_id, self._unreadable)
        self._sweep_took_s = loop_time() - began_at
        return count

    async def end_idle_sandboxes(self) -> None:
        """End every sandbox that has had no call for `idle_after_s`; its files stay."""
        while True:
            await asyncio.sleep(min(IDLE_SWEEP_INTERVAL_S, self._idle_after_s))
            for handle in self._sandboxes.all():
                since = handle.idle_since()
                if since is not None and loop_time() - since >= self._idle_after_s:
                    await self._sandboxes.end(handle, "it was idle")

    async def probe(self) -> None:
        """Make a sandbox and report whether that works: at the start, after a failure, and when none was made for long.

        An idle worker would otherwise be ready for ever on a host whose control groups are gone or whose disk is full.
        """
        availability = self._availability
        while True:
            availability.doubted.clear()
            try:
                await self._driver.probe()
            except SandboxUnavailable as exc:
                availability.unavailable(exc)
                await asyncio.sleep(self._probe_interval_s)
            except Exception as exc:
                availability.unavailable(SandboxUnavailable(f"the probe failed: {type(exc).__name__}: {exc}"))
                raise
            else:
                availability.available(self._driver.weak_limits)
                made_at = -1.0
                while availability.made_at != made_at and not availability.doubted.is_set():
                    made_at = availability.made_at
                    await wait_for_event(availability.doubted, self._probe_interval_s)
