"""Looks at the streams for the gauges of the bus: what waits, how old it is, how far behind the read model is."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from holdfast.bus.errors import BusError
from holdfast.bus.jetstream.client import NatsBus
from holdfast.process import metering, metrics
from holdfast.process.metering import Reading
from holdfast.process.metrics import Metric
from holdfast.session.log.repository import SessionRepository

LOOK_INTERVAL_S: Final = 10.0
"""Seconds between two looks: three small requests for each cell, and two."""

VALID_S: Final = 3 * LOOK_INTERVAL_S
"""Seconds after which what was seen is not shown any more: no value is better than one from before an outage."""

_log = structlog.get_logger()


class BusGauges:
    """Each replica of the session service shows the same numbers; take the largest."""

    def __init__(self, bus: NatsBus, sessions: SessionRepository, cells: Sequence[str], now: Callable[[], int]) -> None:
        """`now` is in microseconds since 1970."""
        self._bus = bus
        self._sessions = sessions
        self._cells = cells
        self._now = now
        self._seen: dict[Metric, tuple[float, list[Reading]]] = {}
        for metric in (metrics.INBOX_DEPTH, metrics.INBOX_AGE, metrics.PARKED, metrics.LOG_LAG, metrics.TASKS_STORED):
            metering.observe(metric, lambda metric=metric: self._shown(metric))

    def _shown(self, metric: Metric) -> list[Reading]:
        at, readings = self._seen.get(metric, (0.0, []))
        return readings if time.monotonic() - at < VALID_S else []

    async def run(self) -> None:
        """Look each LOOK_INTERVAL_S until cancelled."""
        while True:
            try:
                await self.look()
            except BusError as exc:
                _log.info("the streams could not be counted", cause=str(exc))
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def look(self) -> None:
        """Look once. Raises BusError."""
        depths, ages, lags = list[Reading](), list[Reading](), list[Reading]()
        for cell in self._cells:
            found = await self._bus.inbox_depth(cell)
            here = {metrics.CELL: cell}
            age_us = self._now() - found.oldest_at if found.oldest_at else 0
            ages.append((max(age_us, 0) / 1e6, here))
            depths += [
                (float(found.waiting), {**here, metrics.STATE: "waiting"}),
                (float(found.delivered), {**here, metrics.STATE: "delivered"}),
                (float(found.redelivered), {**here, metrics.STATE: "redelivered"}),
            ]
            behind = await self._bus.last_commit_seq(cell) - self._sessions.read_model.tables.position(cell)
            lags.append((float(max(behind, 0)), here))
        self._set(metrics.INBOX_DEPTH, depths)
        self._set(metrics.INBOX_AGE, ages)
        self._set(metrics.LOG_LAG, lags)
        self._set(metrics.PARKED, [(float(await self._bus.parked_count()), metrics.NO_LABELS)])
        self._set(metrics.TASKS_STORED, [(float(await self._bus.stored_task_count()), metrics.NO_LABELS)])

    def _set(self, metric: Metric, readings: list[Reading]) -> None:
        self._seen[metric] = time.monotonic(), readings
