"""Running calls in the sandboxes of a worker, once each, and cancelling them (rules 13, 14 and 18)."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Answer, Cancel, Execute, Probe
from holdfast.bus.errors import Unavailable
from holdfast.bus.head import Head
from holdfast.bus.ids import Key
from holdfast.process import faults
from holdfast.sandbox import results
from holdfast.sandbox.drivers.sandbox import Outcome, SandboxLost
from holdfast.sandbox.head_reads import head_at
from holdfast.sandbox.live_output import LiveOutput
from holdfast.sandbox.placement import BUCKET, CallRecord, admission, encode
from holdfast.sandbox.registration import Registration
from holdfast.sandbox.sandboxes import Sandboxes, SandboxHandle, TrackedCall
from holdfast.sandbox.tools import error, lost
from holdfast.sandbox.waiting import loop_time

log = structlog.get_logger()

Vacate = Callable[[Key, str], Awaitable[None]]
"""Empties the placement of a session if it names a generation that is gone: `Provisioner.vacate`."""


class Executor:
    """Admits calls, runs them, stores their results."""

    def __init__(
        self,
        bus: Bus,
        *,
        registration: Registration,
        sandboxes: Sandboxes,
        vacate: Vacate,
        hand: str,
        kept: str,
        tasks: asyncio.TaskGroup,
    ) -> None:
        """`hand` is the name of the hands, `kept` the sentence of the driver.

        `tasks` runs the calls; it must be entered before a request.
        """
        self._bus = bus
        self._registration = registration
        self._sandboxes = sandboxes
        self._vacate = vacate
        self._hand = hand
        self._kept = kept
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()

    # --- the requests ----------------------------------------------------------------------------------------------

    async def execute(self, request: Execute) -> Answer:
        """Run the call, once, however often it is asked for. Raises Unavailable if the lease may not last.

        A generation that lives is never called gone: its session would close the call, and a request that is still on
        its way could start it after the lease was refreshed.
        """
        key = Key(request.tenant, request.session)
        handle = self._sandboxes.find(key, request.generation)
        if handle is None:
            await self._vacate(key, request.generation)
            return Answer(answer="gone")
        self._registration.require_fresh()
        if handle.is_refused(request.call):
            return Answer(answer="refused")
        known = handle.find(request.call)
        if known is None:
            return await self.admit(handle, handle.track(request.call), request)
        await known.decided.wait()
        if known.phase == "checking":
            raise Unavailable("the call did not start; ask again")
        return Answer(answer="accepted")

    async def probe(self, request: Probe) -> Answer:
        """Whether the generation lives here and may run calls. Raises Unavailable if the lease may not last."""
        handle = self._sandboxes.find(Key(request.tenant, request.session), request.generation)
        if handle is None:
            return Answer(answer="gone")
        self._registration.require_fresh()
        return Answer(answer="accepted")

    async def cancel(self, request: Cancel) -> Answer:
        """Kill the call, or refuse it for ever. Its record is deleted when this returns (rule 18)."""
        handle = self._sandboxes.find(Key(request.tenant, request.session), request.generation)
        if handle is None:
            return Answer(answer="gone")
        handle.refuse(request.call)
        call = handle.find(request.call)
        if call is not None:
            await call.decided.wait()
            if call.phase == "running":
                await handle.sandbox.cancel(request.call)
            await call.finished.wait()
        faults.point("worker.cancelled")
        return Answer(answer="cancelled")

    # --- one call --------------------------------------------------------------------------------------------------

    async def admit(self, handle: SandboxHandle, call: TrackedCall, request: Execute) -> Answer:
        """Store the record of the call and start it, if the log wants it and the sandbox may still run it."""
        record = self.record_of(request)
        try:
            # Both at once, to save a round trip. The record of a call that does not run is harmless: its lost result
            # would be that of no open call.
            wanted, _ = await asyncio.gather(self.is_wanted(handle.key, request), self.store_record(record))
            faults.point("worker.recorded")
            refused = not wanted or handle.is_refused(request.call)
            if refused or not handle.alive or not self._registration.fresh:
                await self._bus.kv.delete(BUCKET, subjects.record_key(handle.key.cell, request.call))
                handle.forget(request.call)
                if refused or not handle.alive:
                    return Answer(answer="refused" if refused else "gone")
                raise Unavailable("the lease may not last; ask again")  # noqa: TRY301  the record is deleted first
        except BaseException:
            handle.forget(request.call)
            raise
        handle.mark_running(call)
        self.start(self.run(handle, call, record, request))
        faults.point("worker.started")
        return Answer(answer="accepted")

    def record_of(self, request: Execute) -> CallRecord:
        """The record of the call on this worker."""
        return CallRecord(
            tenant=request.tenant, session=request.session, call=request.call, generation=request.generation,
            worker=self._registration.worker_id, hand=self._hand, kept=self._kept,
        )  # fmt: skip

    async def store_record(self, record: CallRecord) -> None:
        """Store the record of a call. Raises BusError."""
        await self._bus.kv.put(BUCKET, subjects.record_key(record.key.cell, record.call), encode(record))

    async def is_wanted(self, key: Key, request: Execute) -> bool:
        """Whether the log has the call, ready to run. A replica that is behind the sender cannot say no.

        Raises Unavailable if none has caught up in time.
        """

        def runs(head: Head) -> bool:
            return admission(head, request.call, request.name, request.generation) == "run"

        return runs(await head_at(self._bus.log, key, request.log_seq, enough=runs))

    def start(self, running: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine of a call in a task that `wait` and `abort` know."""
        task = self._tasks.create_task(running)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def run(self, handle: SandboxHandle, call: TrackedCall, record: CallRecord, request: Execute) -> None:
        """Run the call and store its result, unless it was cancelled meanwhile."""
        try:
            outcome, is_lost = await self._outcome(handle, request)
            faults.point("worker.ran")
            if handle.is_refused(request.call):
                await results.delete_record(self._bus, record)
            else:
                handle.mark_delivering(call)
                await results.deliver(self._bus, record, outcome, is_lost=is_lost)
        finally:
            handle.finish(request.call, loop_time())

    async def _outcome(self, handle: SandboxHandle, request: Execute) -> tuple[Outcome, bool]:
        """The outcome of the call, and whether it was lost with its sandbox. Publishes what the call prints."""
        live = LiveOutput(self._bus.core, handle.key, request.call)
        try:
            return await handle.sandbox.run(request.call, request.name, request.input, live.add), False
        except SandboxLost as exc:
            return error(lost(self._hand, exc.reason, self._kept)), True
        except Exception:  # a mistake of ours: this call must still have a result, and the other calls go on
            log.exception("a call failed in the service", call=request.call, tool=request.name)
            return error("the sandbox service failed while this call ran"), False
        finally:
            live.close()

    # --- the end ---------------------------------------------------------------------------------------------------

    async def wait(self, timeout_s: float) -> None:
        """Return when no call runs, or after `timeout_s` seconds."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)

    def abort(self) -> None:
        """Cancel the tasks of all running calls."""
        for task in self._running:
            task.cancel()
