"""A sandbox worker: one registration epoch after another (rules 12 to 18 of PROTOCOL.md on the side of the sandboxes).

An epoch lasts from a registration to a stop or to the loss of the lease. After a lost lease the process goes on in a
new epoch under a new worker id. All time is loop time, and the bus and the driver are arguments, so that the same code
runs over a simulated bus in virtual time.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Bus, Handler, Message, Subscription
from holdfast.bus.commands import Cancel, Confirm, Execute, Probe, Provision, Release
from holdfast.bus.errors import BusError, Damaged, Newer, Refused
from holdfast.bus.ids import FIRST_CELL, new_id
from holdfast.bus.records import decode_record
from holdfast.bus.tools import SANDBOX
from holdfast.process import faults, metering, metrics
from holdfast.process.backoff import BUS_BACKOFF
from holdfast.process.retry import Pauses
from holdfast.process.supervision import supervised
from holdfast.sandbox.availability import Availability, Report
from holdfast.sandbox.deletions import Deletions
from holdfast.sandbox.drivers.driver import Driver
from holdfast.sandbox.epoch_end import LeaseOver, end_of_epoch
from holdfast.sandbox.execution import Executor
from holdfast.sandbox.provisioning import Provisioner
from holdfast.sandbox.registration import Registration
from holdfast.sandbox.sandboxes import Sandboxes
from holdfast.sandbox.sweeps import Sweeps
from holdfast.sandbox.waiting import wait_for_event

log = structlog.get_logger()

DRAIN_SHARE_FOR_CALLS: Final = 0.6
"""Fraction of `drain_s` that running calls get to finish. The rest is for ending sandboxes and storing lost results."""


PROBE_TIMEOUT_S: Final = 60.0
"""Seconds that a probe may take on a busy host before its last result counts as too old."""


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a worker. It serves the sessions of one cell, and holds hands of one name."""

    cell: str = FIRST_CELL
    hand: str = SANDBOX
    lease_s: float = 3.0
    idle_after_s: float = 900.0
    drain_s: float = 5.0
    max_sandboxes: int = 0
    """Hands at once; 0: no limit."""
    probe_interval_s: float = 30.0
    egress: bool = False
    """Whether hands get the network that their environment asks for."""


async def work(bus: Bus, driver: Driver, config: WorkerConfig, stop: asyncio.Event, report: Report) -> None:
    """Serve until `stop`, in one registration epoch after another."""
    former_id = ""
    availability = Availability(report, valid_s=2 * config.probe_interval_s + PROBE_TIMEOUT_S)
    pauses = Pauses(BUS_BACKOFF)
    present: list[Worker] = []
    metering.observe_number(metrics.SANDBOXES, lambda: sum(worker.sandbox_count for worker in present))
    while not stop.is_set():
        worker = Worker(bus, driver, config, report, availability, former_id=former_id)
        present[:] = [worker]
        former_id = worker.id
        try:
            await worker.serve(stop)
        except OSError as exc:
            log.warning("the worker cannot begin", cause=str(exc))
            report.set("sandbox", False, f"the worker cannot begin: {exc}")
            await wait_for_event(stop, pauses.next_s())
        except LeaseOver:
            log.warning("the lease was lost; its sandboxes are gone", worker=worker.id)
        except BusError as exc:
            log.warning("the bus cannot be reached", code=exc.code)
            report.set("bus", False)
            await wait_for_event(stop, pauses.next_s())


class Worker:
    """One registration epoch: registers, routes requests to the parts, and ends everything in order."""

    def __init__(
        self,
        bus: Bus,
        driver: Driver,
        config: WorkerConfig,
        report: Report,
        availability: Availability,
        *,
        former_id: str = "",
    ) -> None:
        """`former_id`: the worker id of this process in its last epoch; that registration is deleted."""
        self.id = new_id("wrk")
        self._former_id = former_id
        self._bus = bus
        self._driver = driver
        self._config = config
        self._report = report
        self._availability = availability
        self._tasks = asyncio.TaskGroup()
        self._sandboxes = Sandboxes()
        self._registration = Registration(
            bus.kv, driver, report, cell=config.cell, hand=config.hand, worker_id=self.id, lease_s=config.lease_s
        )  # fmt: skip
        self._provisioner = Provisioner(
            bus,
            driver,
            cell=config.cell,
            hand=config.hand,
            max_sandboxes=config.max_sandboxes,
            egress=config.egress,
            registration=self._registration,
            sandboxes=self._sandboxes,
            availability=availability,
            tasks=self._tasks,
        )
        self._executor = Executor(
            bus,
            registration=self._registration,
            sandboxes=self._sandboxes,
            vacate=self._provisioner.vacate,
            hand=config.hand,
            kept=driver.kept,
            tasks=self._tasks,
        )
        self._sweeps = Sweeps(
            bus,
            driver,
            self._sandboxes,
            availability,
            cell=config.cell,
            worker_id=self.id,
            idle_after_s=config.idle_after_s,
            probe_interval_s=config.probe_interval_s,
        )
        self._deletions = Deletions(bus, driver, self._provisioner.release, config.cell)
        self._subscriptions: dict[str, Subscription] = {}

    @property
    def sandbox_count(self) -> int:
        """The sandboxes that live now."""
        return len(self._sandboxes.all())

    async def serve(self, stop: asyncio.Event) -> None:
        """Register, serve until `stop`, drain. Raises LeaseOver, and BusError when the epoch could not begin."""
        await self._driver.open(self.id)
        end: LeaseOver | BusError | None = None
        try:
            await self._epoch(stop)
        except BaseExceptionGroup as group:
            # Not `except*`: CPython 3.11.0 to 3.11.3 wraps what is raised in such a clause in a group (gh-103590).
            end = end_of_epoch(group)
            if end is None:
                raise
        finally:
            await self._driver.close()
        if end is not None:
            raise end

    async def _epoch(self, stop: asyncio.Event) -> None:
        async with self._tasks:
            duties: list[asyncio.Task[None]] = []
            try:
                # Before the registration, so that a person who starts the service without a bus hears at once that
                # there are no sandboxes.
                first = not self._availability.known
                if first:
                    duties.append(self._tasks.create_task(supervised(self._sweeps.probe, self._report.note)))
                if self._former_id:
                    # A refresh that was on its way when the lease ended may have been stored since.
                    await self._registration.withdraw(self._former_id)
                await self._registration.register()
                faults.point("worker.registered")
                duties += self._start_duties(probe=not first)
                await self._listen()
                self._report.set("bus", True, valid_s=self._config.lease_s)
                await stop.wait()
                await self._drain()
            finally:
                self._sandboxes.close()
                self._executor.abort()
                for duty in duties:
                    duty.cancel()
                await self._stop_listening()

    def _start_duties(self, *, probe: bool) -> list[asyncio.Task[None]]:
        sweeps = self._sweeps
        duties = [
            sweeps.watch_registrations,
            sweeps.report_dead_workers,
            sweeps.end_idle_sandboxes,
            self._deletions.remove_deleted_sessions,
        ]
        if probe:
            duties.append(sweeps.probe)
        supervisors = [supervised(duty, self._report.note) for duty in duties]
        return [self._tasks.create_task(task) for task in (self._hold_lease(), *supervisors)]

    async def _hold_lease(self) -> None:
        """Refresh the registration; when the lease is over, kill every sandbox and raise LeaseOver (rule 16)."""
        await self._registration.refresh_until_over()
        faults.point("worker.lease_over")
        await self._sandboxes.end_all("its worker lost its registration")
        raise LeaseOver

    # --- requests --------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Answer requests from now on. Requests for a sandbox come last: they lead to all the others."""
        cell, hand = self._config.cell, self._config.hand
        await self._serve(subjects.execute(cell, self.id), _handler(Execute, self._executor.execute))
        await self._serve(subjects.cancel(cell, self.id), _handler(Cancel, self._executor.cancel))
        confirmations = subjects.confirm(cell, self.id)
        self._subscriptions[confirmations] = await self._bus.core.subscribe(confirmations, self._confirm)
        await self._serve(subjects.probe(cell, self.id), _handler(Probe, self._executor.probe))
        await self._serve(subjects.release(cell), _handler(Release, self._provisioner.release))
        provision = _handler(Provision, self._provisioner.provision)
        await self._serve(subjects.provision_at(cell, self.id), provision)
        await self._serve(subjects.provision(cell, hand), provision, queue=hand)

    async def _confirm(self, message: Message) -> None:
        try:
            self._executor.confirm(decode_record(Confirm, message.data))
        except (Newer, Damaged):
            log.warning("a confirmation cannot be decoded")

    async def _serve(self, subject: str, handler: Handler, *, queue: str = "") -> None:
        self._subscriptions[subject] = await self._bus.core.serve(subject, handler, queue=queue)

    async def _stop_listening(self, *only: str) -> None:
        """Unsubscribe from these subjects, or from all of them, so that callers get NoResponders."""
        for subject in only or list(self._subscriptions):
            await self._subscriptions.pop(subject).close()

    # --- the end ---------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Take no new sandboxes, let running calls finish for a while, then end every sandbox and unregister."""
        cell = self._config.cell
        await self._stop_listening(subjects.provision(cell, self._config.hand), subjects.provision_at(cell, self.id))
        await self._executor.wait(self._config.drain_s * DRAIN_SHARE_FOR_CALLS)
        for handle in self._sandboxes.all():
            await self._sandboxes.end(handle, "the sandbox service was stopped")
        await self._executor.wait(self._config.drain_s * (1 - DRAIN_SHARE_FOR_CALLS))
        await self._stop_listening()
        with contextlib.suppress(BusError):  # then the registration expires by itself
            await self._registration.withdraw(self.id)


def _handler(kind: type[msgspec.Struct], handle: Callable[..., Awaitable[msgspec.Struct]]) -> Handler:
    """A handler of requests of one kind. It raises Newer, and Refused for data that is not such a request."""

    async def answer(data: bytes) -> bytes:
        try:
            request = decode_record(kind, data)
        except Damaged:
            raise Refused(f"not a {kind.__name__}") from None
        return msgspec.json.encode(await handle(request))

    return answer
