"""The registration of a worker on the bus, which is its lease (rule 16).

A registration epoch lasts from the first `register` until the worker stops or loses its lease. Nothing of an epoch is
used after it, neither the worker's id nor its sandboxes.
"""

import asyncio
import socket

from holdfast.bus import subjects
from holdfast.bus.api import KeyValue
from holdfast.bus.errors import BusError, Unavailable
from holdfast.process.retry import retrying
from holdfast.sandbox.availability import Report
from holdfast.sandbox.drivers.driver import Driver
from holdfast.sandbox.lease import Lease
from holdfast.sandbox.placement import BUCKET, WorkerRecord, encode
from holdfast.sandbox.waiting import loop_time


class Registration:
    """The registration of one worker in one epoch. It expires `lease_s` seconds after its last refresh."""

    def __init__(
        self, kv: KeyValue, driver: Driver, report: Report, *, cell: str, hand: str, worker_id: str, lease_s: float
    ) -> None:
        self.worker_id = worker_id
        self._hand = hand
        self._cell = cell
        self._kv = kv
        self._driver = driver
        self._report = report
        self._lease = Lease(lease_s, float("-inf"))

    @property
    def fresh(self) -> bool:
        """Whether calls may start and sandboxes may be made."""
        return self._lease.may_start(loop_time())

    def require_fresh(self) -> None:
        """Raise Unavailable unless `fresh`."""
        if not self.fresh:
            raise Unavailable("the lease is not fresh")

    async def register(self) -> None:
        """Store the registration, or refresh it, and let the sandboxes live as long. Raises BusError."""
        driver = self._driver
        record = WorkerRecord(
            hand=self._hand, host=driver.host, machine=socket.gethostname(), driver=driver.name
        )  # fmt: skip
        sent = loop_time()
        await self._kv.put(
            BUCKET, subjects.worker_key(self._cell, self.worker_id), encode(record), ttl=self._lease.duration
        )
        self._lease = Lease(self._lease.duration, sent)
        self._driver.keep_until(self._lease.end)

    async def refresh_until_over(self) -> None:
        """Refresh the registration again and again. Returns when the lease is over."""
        while True:
            await asyncio.sleep(max(0.0, self._lease.refresh_due - loop_time()))
            # The lease expired while this process was frozen: others may have taken over, so never refresh.
            if loop_time() >= self._lease.end:
                break
            try:
                async with asyncio.timeout_at(self._lease.end):
                    await retrying(self.register, on=BusError, what="refresh of the registration")
            except TimeoutError:
                break
            self._report.set("bus", True, valid_s=self._lease.duration)
        self._report.set("bus", False)

    async def withdraw(self, worker_id: str) -> None:
        """Delete the registration of `worker_id`, which is this worker or its former epoch. Raises BusError."""
        await self._kv.delete(BUCKET, subjects.worker_key(self._cell, worker_id))
