"""Giving a session its sandbox and taking it away (rule 12)."""

import asyncio
import contextlib

import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Bus, Entry
from holdfast.bus.commands import Answer, Provision, Provisioned, Release
from holdfast.bus.errors import BusError, Conflict, Newer, Refused, Unavailable
from holdfast.bus.ids import Key, new_id
from holdfast.process import failures, faults, metering, metrics
from holdfast.sandbox import results
from holdfast.sandbox.availability import Availability
from holdfast.sandbox.drivers.driver import Driver, SandboxUnavailable
from holdfast.sandbox.drivers.hand_spec import HandSpec, UnsupportedHand, hand_spec
from holdfast.sandbox.drivers.sandbox import Sandbox
from holdfast.sandbox.head_reads import head_at
from holdfast.sandbox.placement import BUCKET, Placement, encode, placement_of, worker_record_of
from holdfast.sandbox.registration import Registration
from holdfast.sandbox.sandboxes import Sandboxes, SandboxHandle
from holdfast.sandbox.waiting import loop_time

log = structlog.get_logger()


def describe(exc: Exception) -> str:
    """An unexpected error in a few words: those of the system for an OSError, else the kind of the error."""
    return (exc.strerror or type(exc).__name__) if isinstance(exc, OSError) else type(exc).__name__


class Declined(Exception):
    """This worker may not make the hand. `error` is its type, and only workers of `host` may (empty: any)."""

    def __init__(self, error: str, text: str, host: str) -> None:
        super().__init__(text)
        self.error = error
        self.host = host


class Provisioner:
    """Makes sandboxes, stores their placements, and removes both."""

    def __init__(
        self,
        bus: Bus,
        driver: Driver,
        *,
        cell: str,
        hand: str,
        max_sandboxes: int,
        egress: bool,
        registration: Registration,
        sandboxes: Sandboxes,
        availability: Availability,
        tasks: asyncio.TaskGroup,
    ) -> None:
        """`egress`: hands get the network that their environment asks for.

        `tasks` runs the creations and waits for the end of every sandbox; it must be entered before a request."""
        self._bus = bus
        self._log = bus.log
        self._kv = bus.kv
        self._driver = driver
        self._cell = cell
        self._hand = hand
        self._max_sandboxes = max_sandboxes
        self._egress = egress
        self._registration = registration
        self._sandboxes = sandboxes
        self._availability = availability
        self._tasks = tasks

    async def provision(self, request: Provision) -> Provisioned:
        """The session's sandbox, made if it has none. Requests for one session at the same time share the work."""
        key = Key(request.tenant, request.session)
        if request.hand != self._hand:
            raise Refused(f"this worker makes no {request.hand[:40]!r}")
        creation = self._sandboxes.creation(key)
        if creation is None:
            if self._sandboxes.closed:
                raise Unavailable("the registration is over")
            self._registration.require_fresh()
            creation = self._tasks.create_task(self._place(key, request.log_seq))
            self._sandboxes.add_creation(key, creation)
        provisioned = await asyncio.shield(creation)
        if isinstance(provisioned, BusError):
            raise provisioned
        return provisioned

    async def release(self, request: Release) -> Answer:
        """End the session's sandbox; with `files` also remove its workspace."""
        key = Key(request.tenant, request.session)
        creation = self._sandboxes.creation(key)
        if creation is not None:  # begun before the session was archived or deleted, as for a call that was interrupted
            await asyncio.wait([creation])
        handle = self._sandboxes.of_session(key)
        if handle is not None:
            if request.files:
                handle.refuse_all()  # the session is deleted: nobody reads a result
            await self._sandboxes.end(handle, "the session was archived or deleted")
        if request.files:
            await self._driver.remove_files(key)
            await self._forget_host(key)
        return Answer(answer="done")

    async def _forget_host(self, key: Key) -> None:
        """Delete the placement of the session, whose files on this host are gone.

        Not while it names a generation of another worker that lives: that one ends it, and then deletes the placement.
        """
        entry = await self._kv.get(BUCKET, subjects.placement_key(key, self._hand))
        with contextlib.suppress(Newer):  # the placement of a newer worker
            placed = placement_of(entry.value if entry else None)
            if entry is None or placed.host != self._driver.host:
                return
            if not placed.generation or not await self._lives_elsewhere(placed.worker):
                await self._kv.delete(BUCKET, entry.key)

    async def _lives_elsewhere(self, worker: str) -> bool:
        return worker != self._registration.worker_id and await results.is_registered(self._bus, self._cell, worker)

    async def vacate(self, key: Key, generation: str) -> None:
        """Empty the placement of the session if it names this generation on this worker. Raises BusError.

        Not before the results of its calls are stored: should this worker die, the placement is what finds them.
        """
        if self._sandboxes.owes_results(generation):
            return
        entry = await self._kv.get(BUCKET, subjects.placement_key(key, self._hand))
        with contextlib.suppress(Newer):  # the placement of a newer worker
            await self._empty(entry, generation)

    async def _empty(self, entry: Entry | None, generation: str) -> None:
        placed = placement_of(entry.value if entry else None)
        if entry is None or (placed.generation, placed.worker) != (generation, self._registration.worker_id):
            return
        await results.empty_placement(self._bus, entry)

    # --- making a sandbox ------------------------------------------------------------------------------------------

    async def _place(self, key: Key, log_seq: int) -> Provisioned | BusError:
        """Run `_adopt_or_create`. No error is raised: in the task group it would end the sandboxes of all sessions."""
        try:
            return await self._adopt_or_create(key, log_seq)
        except Declined as exc:
            return await self._declined(exc)
        except SandboxUnavailable as exc:
            self._availability.unavailable(exc)
            return Provisioned(error=exc.code, message=str(exc))
        except UnsupportedHand as exc:
            return Provisioned(error=SandboxUnavailable.code, message=str(exc))
        except BusError as exc:
            return exc
        except Exception as exc:
            log.exception("a sandbox could not be made", session=key.session, failure=failures.bug("provision"))
            self._availability.doubted.set()
            text = f"the sandbox of this session could not be made: {describe(exc)}"
            return Provisioned(error=SandboxUnavailable.code, message=text)

    async def _adopt_or_create(self, key: Key, log_seq: int) -> Provisioned:
        while True:
            entry = await self._kv.get(BUCKET, subjects.placement_key(key, self._hand))
            placed = placement_of(entry.value if entry else None)
            if placed.generation and await self._is_alive(key, placed):
                return self._provisioned(placed.generation, placed.worker)
            if self._is_elsewhere(placed):
                raise Declined(f"{self._hand}_elsewhere", self._driver.elsewhere, placed.host)
            spec = await self._spec(key, log_seq)
            if placed.generation and not await self._is_settled(key, placed):
                # Calls may still be bound to it: another worker had it and died, or it ended here.
                await results.report_gone(self._bus, key, self._hand, placed.generation)
            self._registration.require_fresh()
            handle = await self._create(spec, placed)
            try:
                await self._store_placement(handle, entry)
            except Conflict:
                await self._sandboxes.end(handle, "another worker was faster")
                continue
            except BusError:
                await self._sandboxes.end(handle, "the placement could not be stored")
                raise
            faults.point("worker.placed")
            self._availability.available(self._driver.weak_limits)
            return self._provisioned(handle.generation, self._registration.worker_id)

    def _is_elsewhere(self, placed: Placement) -> bool:
        """Whether the files of the session are on another host: here they would be missing without a word."""
        return placed.host not in ("", self._driver.host)

    async def _spec(self, key: Key, log_seq: int) -> HandSpec:
        head = await head_at(self._log, key, log_seq)
        if head.archived or head.deleted:
            raise Refused("the session is archived or deleted")
        return hand_spec(head, key, kind=self._hand, generation=new_id("sbx"), egress=self._egress)

    async def _declined(self, declined: Declined) -> Provisioned | BusError:
        """The reply that sends the harness to the workers that may make the hand."""
        try:
            registered = await self._kv.list(BUCKET, subjects.worker_keys(self._cell))
        except BusError as exc:
            return exc
        ask: list[str] = []
        for entry in registered:
            record, worker = worker_record_of(entry.value), entry.key.rpartition(".")[2]
            suits = record.hand == self._hand and declined.host in ("", record.host)
            if suits and worker != self._registration.worker_id:
                ask.append(worker)
        return Provisioned(error=declined.error, message=str(declined), declined=True, ask=tuple(ask))

    def _provisioned(self, generation: str, worker: str) -> Provisioned:
        return Provisioned(generation=generation, worker=worker, kept=self._driver.kept)

    async def _is_alive(self, key: Key, placed: Placement) -> bool:
        """Whether the placed generation can run calls: it lives here, or the other worker is registered."""
        if placed.worker == self._registration.worker_id:
            return self._sandboxes.find(key, placed.generation) is not None
        return await self._kv.get(BUCKET, subjects.worker_key(key.cell, placed.worker)) is not None

    async def _is_settled(self, key: Key, placed: Placement) -> bool:
        """Whether the placed generation ended here and the results of all its calls are stored or confirmed."""
        if placed.worker != self._registration.worker_id:
            return False
        handle = self._sandboxes.find_any(key, placed.generation)
        if handle is not None:
            await handle.calls_ended()
        return not self._sandboxes.owes_results(placed.generation)

    async def _create(self, spec: HandSpec, placed: Placement) -> SandboxHandle:
        """Raises Declined if this worker is full: then the session goes to another worker that can reach its files."""
        if not self._sandboxes.reserve(self._max_sandboxes):
            self._availability.full(self._max_sandboxes)
            text = f"every {self._hand} worker has as many sessions as it may have; try again later"
            raise Declined(f"{self._hand}_capacity", text, placed.host)
        try:
            faults.point("worker.create")
            sandbox = await self._make(spec)
            faults.point("worker.created")
            handle = SandboxHandle(spec.key, spec.generation, sandbox, loop_time())
            self._sandboxes.add(handle)
        finally:
            self._sandboxes.unreserve()
        self._tasks.create_task(self._on_exit(handle))
        return handle

    async def _make(self, spec: HandSpec) -> Sandbox:
        began_at, labels = loop_time(), dict[str, str]()
        try:
            return await self._driver.create(spec)
        except Exception as exc:
            labels = {metrics.ERROR: exc.code if isinstance(exc, SandboxUnavailable) else type(exc).__name__}
            raise
        finally:
            metering.record(metrics.SANDBOX_START, loop_time() - began_at, labels)

    async def _store_placement(self, handle: SandboxHandle, entry: Entry | None) -> None:
        """Name the sandbox in the placement, which must still be as in `entry`. Raises Conflict and other BusErrors."""
        name = subjects.placement_key(handle.key, self._hand)
        worker = self._registration.worker_id
        value = encode(Placement(generation=handle.generation, worker=worker, host=self._driver.host))
        if entry is None:
            await self._kv.create(BUCKET, name, value)
        else:
            await self._kv.update(BUCKET, name, value, entry.revision)

    async def _on_exit(self, handle: SandboxHandle) -> None:
        """Wait until the sandbox has ended, for whatever cause, then give its generation up.

        Running calls are not looked at here: each of them gets SandboxLost from the sandbox and stores a lost result.
        """
        try:
            await self._after_exit(handle, await handle.sandbox.wait())
        except Exception:  # in the task group it would end the sandboxes of all sessions
            failure = failures.bug("sandbox_end")
            log.exception("the end of a sandbox was not dealt with", generation=handle.generation, failure=failure)

    async def _after_exit(self, handle: SandboxHandle, reason: str) -> None:
        log.info("sandbox ended", generation=handle.generation, reason=reason)
        metering.add(metrics.SANDBOX_ENDS)
        self._sandboxes.remove(handle)
        self._availability.has_room()
        faults.point("worker.sandbox_ended")
        await handle.calls_ended()
        self._sandboxes.forget(handle)
        # A stale placement does no harm: a harness that follows it is told `gone`, and then `vacate` is tried again.
        with contextlib.suppress(BusError):
            await self.vacate(handle.key, handle.generation)
