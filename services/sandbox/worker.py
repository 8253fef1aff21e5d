"""A sandbox worker: rules 12 to 18 of PROTOCOL.md on the side of the hands.

A worker has an identity for one tenure: from its registration until that ends, by a stop or because the lease was lost.
After a lost lease nothing of the tenure is used again; the process goes on under a new identity. All time is loop time,
and everything outside comes as an argument, so that the same code runs over a simulated bus.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, cast

import msgspec
import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Bus, Subscription
from holdfast.bus.commands import Answer, Cancel, Execute, Probe, Provision, Provisioned, Release
from holdfast.bus.errors import BusError, Conflict, Refused, Unavailable
from holdfast.bus.ids import Key, new_id
from holdfast.process import faults
from holdfast.sandbox import results
from holdfast.sandbox.availability import Availability, Report
from holdfast.sandbox.drivers.driver import Driver, SandboxUnavailable
from holdfast.sandbox.drivers.sandbox import Outcome, SandboxLost
from holdfast.sandbox.lease import Lease
from holdfast.sandbox.live_output import LiveOutput
from holdfast.sandbox.placement import Placement, Record, Registration, admission, placement_of
from holdfast.sandbox.results import AGAIN, BUCKET
from holdfast.sandbox.sandboxes import Call, SandboxHandle
from holdfast.sandbox.tools import error, lost

log = structlog.get_logger()

SWEEP_EACH: Final = 30.0
"""Seconds between two looks for calls of dead workers; an expiry is looked at when it is heard of."""

REAP_EACH: Final = 1.0
"""Seconds between two looks for idle sandboxes."""

PROBE_EACH: Final = 30.0
"""Seconds between two probes while there is no sandbox to be had."""

DRAIN_SHARE: Final = 0.6
"""Share of the drain time that running calls get to finish; the rest is to end the sandboxes and tell."""


class LeaseOver(Exception):
    """The registration could not be refreshed in time."""


class WorkerConfig(msgspec.Struct, frozen=True):
    """What of the settings the worker itself needs: seconds."""

    lease: float = 3.0
    idle_after: float = 900.0
    drain: float = 5.0


async def work(bus: Bus, driver: Driver, terms: WorkerConfig, stop: asyncio.Event, report: Report) -> None:
    """Serve until `stop`, one tenure after another."""
    former = ""
    availability = Availability(report)
    while not stop.is_set():
        worker = Worker(bus, driver, terms, report, availability, former=former)
        former = worker.id
        try:
            await worker.serve(stop)
        except LeaseOver:
            log.warning("the lease was lost; its sandboxes are gone", worker=worker.id)
        except BusError as exc:
            log.warning("the bus cannot be reached", code=exc.code)
            report.set("bus", False)
            await _either(stop, AGAIN)


class Worker:
    """One tenure."""

    def __init__(
        self,
        bus: Bus,
        driver: Driver,
        terms: WorkerConfig,
        report: Report,
        availability: Availability,
        *,
        former: str = "",
    ) -> None:
        """`former` is this process's identity before; its registration is taken back."""
        self.id = new_id("wrk")
        self._former = former
        self._bus = bus
        self._driver = driver
        self._terms = terms
        self._report = report
        self._availability = availability
        self._lease = Lease(terms.lease, float("-inf"))
        self._held: dict[str, SandboxHandle] = {}
        self._places: dict[Key, SandboxHandle] = {}
        self._making: dict[Key, asyncio.Task[Provisioned | BusError]] = {}
        self._doubt = asyncio.Event()
        self._expired = asyncio.Event()
        self._serving: list[Subscription] = []
        self._over = False
        self._calls: set[asyncio.Task[None]] = set()
        self._tasks: asyncio.TaskGroup

    # --- the tenure ------------------------------------------------------------------------------------------------

    async def serve(self, stop: asyncio.Event) -> None:
        """Register, serve until `stop`, drain. Raises LeaseOver, and BusError when it could not begin."""
        await self._driver.open(self.id)
        end: LeaseOver | BusError | None = None
        try:
            await self._tenure(stop)
        except BaseExceptionGroup as group:
            # Not `except*`: CPython 3.11.0 to 3.11.3 wraps what is raised in such a clause in a group (gh-103590).
            end = end_of_tenure(group)
            if end is None:
                raise
        finally:
            await self._driver.close()
        if end is not None:
            raise end

    async def _tenure(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            background: list[asyncio.Task[None]] = []
            try:
                # A person who starts the service hears at once that there are no sandboxes, whatever the bus does.
                first = not self._availability.known
                if first:
                    background.append(self._tasks.create_task(self._probe()))
                if self._former:
                    # A refresh that was on its way when the lease ended may have been stored since.
                    await self._bus.kv.delete(BUCKET, subjects.worker_key(self._former))
                await self._register()
                faults.point("worker.registered")
                duties = [self._stay(), self._hear_expiries(), self._sweep(), self._reap()]
                if not first:
                    duties.append(self._probe())
                background += [self._tasks.create_task(duty) for duty in duties]
                await self._listen()
                self._report.set("bus", True)
                await stop.wait()
                await self._drain()
            finally:
                self._over = True
                for held in list(self._held.values()):
                    self._let_go(held)
                for task in (*background, *self._calls, *self._making.values()):
                    task.cancel()
                await self._quiet()

    async def _listen(self) -> None:
        serve = self._bus.core.serve
        self._serving = [
            await serve(subjects.execute(self.id), _answering(Execute, self.execute)),
            await serve(subjects.cancel(self.id), _answering(Cancel, self.cancel)),
            await serve(subjects.probe(self.id), _answering(Probe, self.probe)),
            await serve(subjects.RELEASE, _answering(Release, self.release)),
            await serve(subjects.PROVISION, _answering(Provision, self.provision), queue="sbx"),
        ]

    async def _quiet(self) -> None:
        """Answer nothing any more: whoever asks shall hear that nobody is here."""
        for subscription in self._serving:
            await subscription.close()
        self._serving = []

    async def _drain(self) -> None:
        """Let running calls finish for a while, then end every sandbox and say what was lost."""
        await self._serving.pop().close()
        if self._calls:
            await asyncio.wait(self._calls, timeout=self._terms.drain * DRAIN_SHARE)
        for held in list(self._held.values()):
            await self._end(held, "the sandbox service was stopped")
        if self._calls:
            await asyncio.wait(self._calls, timeout=self._terms.drain * (1 - DRAIN_SHARE))
        await self._quiet()
        with contextlib.suppress(BusError):  # it expires by itself
            await self._bus.kv.delete(BUCKET, subjects.worker_key(self.id))

    # --- the lease (rule 16) ---------------------------------------------------------------------------------------

    async def _register(self) -> None:
        value = results.encode(Registration(host=socket.gethostname(), driver=self._driver.name))
        sent = _now()
        await self._bus.kv.put(BUCKET, subjects.worker_key(self.id), value, ttl=self._terms.lease)
        self._lease = Lease(self._terms.lease, sent)
        self._driver.keep_until(self._lease.end)

    async def _stay(self) -> None:
        """Refresh in time, again and again, or end everything."""
        while True:
            await asyncio.sleep(max(0.0, self._lease.refresh - _now()))
            if _now() >= self._lease.end:  # this process was frozen; a refresh now would raise the dead
                break
            try:
                async with asyncio.timeout_at(self._lease.end):
                    await results.persistently(self._register)
            except TimeoutError:
                break
            self._report.set("bus", True)
        self._report.set("bus", False)
        faults.point("worker.lease_over")
        ending = list(self._held.values())
        for held in ending:
            self._let_go(held)
        await asyncio.gather(*[held.box.kill("its worker lost its registration") for held in ending])
        raise LeaseOver

    @property
    def _fresh(self) -> bool:
        return self._lease.may_start(_now())

    # --- provision (rule 12) ---------------------------------------------------------------------------------------

    async def provision(self, ask: Provision) -> Provisioned:
        """The session's sandbox, made if it has none. Requests for one session at the same time share the work."""
        key = Key(ask.tenant, ask.session)
        making = self._making.get(key)
        if making is None:
            if self._over or not self._fresh:
                raise Unavailable("the lease is not fresh")
            making = self._making[key] = self._tasks.create_task(self._place(key))
            making.add_done_callback(lambda _: self._making.pop(key, None))
        made = await asyncio.shield(making)
        if isinstance(made, BusError):
            raise made
        return made

    async def _place(self, key: Key) -> Provisioned | BusError:
        try:
            return await self._adopt_or_make(key)
        except SandboxUnavailable as exc:
            self._availability.missing(exc)
            self._doubt.set()
            return Provisioned(error=exc.code, message=str(exc))
        except BusError as exc:
            return exc  # raised here it would end the tenure, which is for all sessions

    async def _adopt_or_make(self, key: Key) -> Provisioned:
        while True:
            entry = await self._bus.kv.get(BUCKET, subjects.placement_key(key))
            placed = placement_of(entry)
            if placed.generation and await self._lives(placed):
                return Provisioned(generation=placed.generation, worker=placed.worker)
            if not self._fresh:
                raise Unavailable("the lease is not fresh")
            faults.point("worker.create")
            generation = new_id("sbx")
            box = await self._driver.create(key, generation)
            faults.point("worker.created")
            held = SandboxHandle(key, generation, box, _now())
            self._held[generation] = self._places[key] = held
            self._tasks.create_task(self._mourn(held))
            value = results.encode(Placement(generation=generation, worker=self.id))
            try:
                if entry is None:
                    await self._bus.kv.create(BUCKET, subjects.placement_key(key), value)
                else:
                    await self._bus.kv.update(BUCKET, subjects.placement_key(key), value, entry.revision)
            except Conflict:
                await self._end(held, "another worker was faster")
                continue
            except BusError:
                await self._end(held, "the placement could not be stored")
                raise
            faults.point("worker.placed")
            self._availability.had(self._driver.weak_limits)
            return Provisioned(generation=generation, worker=self.id)

    async def _lives(self, placed: Placement) -> bool:
        if placed.worker == self.id:
            held = self._held.get(placed.generation)
            return held is not None and held.alive
        return await self._bus.kv.get(BUCKET, subjects.worker_key(placed.worker)) is not None

    # --- execute (rule 13) -----------------------------------------------------------------------------------------

    async def execute(self, ask: Execute) -> Answer:
        """Run the call, once."""
        key = Key(ask.tenant, ask.session)
        held = self._held.get(ask.generation)
        if held is None or held.key != key or not held.alive:
            await self._vacate(key, ask.generation)
            return Answer(answer="gone")
        if not self._fresh:
            return Answer(answer="gone")
        if held.refused(ask.call):
            return Answer(answer="refused")
        known = held.find(ask.call)
        if known is None:
            return await self._admit(held, held.begin(ask.call), ask)
        await known.settled.wait()
        if known.phase == "checking":
            raise Unavailable("it did not start; ask again")
        return Answer(answer="accepted")

    async def probe(self, ask: Probe) -> Answer:
        """Whether that generation lives here and may run calls."""
        held = self._held.get(ask.generation)
        lives = held is not None and held.key == Key(ask.tenant, ask.session) and held.alive and self._fresh
        return Answer(answer="accepted" if lives else "gone")

    async def _admit(self, held: SandboxHandle, entry: Call, ask: Execute) -> Answer:
        record = Record(
            tenant=ask.tenant, session=ask.session, call=ask.call, generation=ask.generation, worker=self.id
        )  # fmt: skip
        try:
            # At the same time: a record of a call that does not run is harmless, its lost result is no open call's.
            wanted, _ = await asyncio.gather(
                self._wanted(held.key, ask),
                self._bus.kv.put(BUCKET, subjects.record_key(ask.call), results.encode(record)),
            )
            faults.point("worker.recorded")
            refused = not wanted or held.refused(ask.call)
            if refused or not held.alive or not self._fresh:
                await self._bus.kv.delete(BUCKET, subjects.record_key(ask.call))
                held.forget(ask.call)
                return Answer(answer="refused" if refused else "gone")
        except BaseException:
            held.forget(ask.call)
            raise
        held.run(entry)
        task = self._tasks.create_task(self._run(held, entry, record, ask))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        faults.point("worker.started")
        return Answer(answer="accepted")

    async def _wanted(self, key: Key, ask: Execute) -> bool:
        """Whether the log wants it: any server may say yes, only the leader no."""
        for leader in (False, True):
            stored = await self._bus.log.head(key, leader=leader)
            said = admission(stored.commit.head if stored else None, ask.call, ask.name, ask.generation)
            if said == "run":
                return True
        return False

    async def _run(self, held: SandboxHandle, entry: Call, record: Record, ask: Execute) -> None:
        try:
            outcome, is_lost = await self._outcome(held, ask)
            faults.point("worker.ran")
            if held.refused(ask.call):
                await results.forget(self._bus, ask.call)
            else:
                held.deliver(entry)
                await results.deliver(self._bus, record, outcome, is_lost=is_lost)
        finally:
            held.close(ask.call, _now())

    async def _outcome(self, held: SandboxHandle, ask: Execute) -> tuple[Outcome, bool]:
        """What the call gave, and whether it was lost with its sandbox."""
        live = LiveOutput(self._bus, held.key, ask.call)
        try:
            return await held.box.run(ask.call, ask.name, ask.input, live.add), False
        except SandboxLost as exc:
            return error(lost(exc.reason)), True
        except Exception:  # whatever our own mistake, the call must have a result and the others go on
            log.exception("a call failed in the service", call=ask.call, tool=ask.name)
            return error("the sandbox service failed while this call ran"), False
        finally:
            live.close()

    # --- cancel (rule 18) and release ------------------------------------------------------------------------------

    async def cancel(self, ask: Cancel) -> Answer:
        """Kill the call, or refuse it for ever; its record is deleted when this returns."""
        held = self._held.get(ask.generation)
        if held is None or held.key != Key(ask.tenant, ask.session):
            return Answer(answer="gone")
        held.refuse(ask.call)
        entry = held.find(ask.call)
        if entry is not None:
            await entry.settled.wait()
            if entry.phase == "running":
                await held.box.cancel(ask.call)
            await entry.over.wait()
        faults.point("worker.cancelled")
        return Answer(answer="cancelled")

    async def release(self, ask: Release) -> Answer:
        """End the session's sandbox; with `files` also remove its workspace."""
        key = Key(ask.tenant, ask.session)
        held = self._places.get(key)
        if held is not None:
            if ask.files:
                held.refuse_all()  # nobody is left to read a result
            await self._end(held, "the session was archived or deleted")
        if ask.files:
            await self._driver.remove_files(key)
            if held is not None:
                await self._bus.kv.delete(BUCKET, subjects.placement_key(key))
        return Answer(answer="done")

    # --- the end of a sandbox --------------------------------------------------------------------------------------

    async def _mourn(self, held: SandboxHandle) -> None:
        """When a sandbox ends for whatever cause, its generation is over. Its calls tell themselves."""
        reason = await held.box.wait()
        log.info("sandbox ended", generation=held.generation, reason=reason)
        self._let_go(held)
        faults.point("worker.box_ended")
        with contextlib.suppress(BusError):  # whoever is sent here by it hears that it is gone, and it is tried again
            await self._vacate(held.key, held.generation)

    async def _end(self, held: SandboxHandle, reason: str) -> None:
        self._let_go(held)
        await held.box.kill(reason)

    def _let_go(self, held: SandboxHandle) -> None:
        """From here on the generation is gone for everyone who asks."""
        held.alive = False
        self._held.pop(held.generation, None)
        if self._places.get(held.key) is held:
            del self._places[held.key]

    async def _vacate(self, key: Key, generation: str) -> None:
        """Take the generation out of the placement, if it is there and ours."""
        entry = await self._bus.kv.get(BUCKET, subjects.placement_key(key))
        if entry is None or placement_of(entry) != Placement(generation=generation, worker=self.id):
            return
        with contextlib.suppress(Conflict):  # someone has placed it anew
            await self._bus.kv.update(
                BUCKET, subjects.placement_key(key), results.encode(Placement()), entry.revision
            )  # fmt: skip

    # --- in the background -----------------------------------------------------------------------------------------

    async def _hear_expiries(self) -> None:
        """Rule 17: at the start, and whenever a registration ends."""
        while True:
            try:
                async for entry in self._bus.kv.watch(BUCKET, subjects.REGISTERED):
                    if entry is None or entry.value is None:
                        self._expired.set()
            except BusError as exc:
                log.info("the watch will be taken up again", code=exc.code)
                await asyncio.sleep(AGAIN)

    async def _sweep(self) -> None:
        while True:
            await _either(self._expired, SWEEP_EACH)
            self._expired.clear()
            try:
                for dead in await self._driver.collect():
                    await self._bus.kv.delete(BUCKET, subjects.worker_key(dead))
                found = await results.settle(self._bus, self.id)
            except BusError as exc:
                log.info("the search for lost calls will be repeated", code=exc.code)
                self._expired.set()
                await asyncio.sleep(AGAIN)
                continue
            if found:
                log.warning("calls of dead workers were closed", count=found)

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(min(REAP_EACH, self._terms.idle_after))
            for held in list(self._held.values()):
                since = held.idle_since()
                if since is not None and _now() - since >= self._terms.idle_after:
                    await self._end(held, "it was idle")

    async def _probe(self) -> None:
        """Say whether there are sandboxes to be had: at the start, after a failure, and again while there are none."""
        while True:
            self._doubt.clear()
            try:
                await self._driver.probe()
            except SandboxUnavailable as exc:
                self._availability.missing(exc)
                await asyncio.sleep(PROBE_EACH)
            else:
                self._availability.had(self._driver.weak_limits)
                await self._doubt.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or after so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def end_of_tenure(group: BaseExceptionGroup[Any]) -> LeaseOver | BusError | None:
    """The error that ended the tenure, after which the process goes on: LeaseOver before the first BusError.

    None if the group holds any other error: then the process must not go on.
    """
    leaves = list(_leaves(group))
    expected = [exc for exc in leaves if isinstance(exc, LeaseOver | BusError)]
    if len(expected) < len(leaves):
        return None
    return next((exc for exc in expected if isinstance(exc, LeaseOver)), expected[0])


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    """The errors in a group, however deeply nested."""
    if isinstance(exc, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", exc).exceptions:
            yield from _leaves(inner)
    else:
        yield exc


def _answering(
    kind: type[msgspec.Struct], handle: Callable[..., Awaitable[msgspec.Struct]]
) -> Callable[[bytes], Awaitable[bytes]]:
    """A handler of requests of one kind. Raises Refused for anything that is not one."""
    decoder = msgspec.json.Decoder(kind)

    async def answer(data: bytes) -> bytes:
        try:
            ask = decoder.decode(data)
        except msgspec.MsgspecError:
            raise Refused(f"not a {kind.__name__}") from None
        return msgspec.json.encode(await handle(ask))

    return answer
