"""Running calls in the sandboxes of a worker, once each, and cancelling them (rules 13, 14 and 18)."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import msgspec
import structlog
from opentelemetry import context
from opentelemetry.trace import SpanKind, StatusCode

from holdfast.bus.api import Bus
from holdfast.bus.commands import Answer, Cancel, Confirm, Execute, Probe
from holdfast.bus.errors import Unavailable
from holdfast.bus.head import Head
from holdfast.bus.ids import Key
from holdfast.bus.inputs import CallResult
from holdfast.bus.streams import BLOB_THRESHOLD_BYTES
from holdfast.bus.tools import EXECUTABLE
from holdfast.process import failures, faults, metering, metrics, spans
from holdfast.process.spans import LongSpan
from holdfast.sandbox import results
from holdfast.sandbox.drivers.sandbox import Outcome, SandboxLost
from holdfast.sandbox.head_reads import head_at
from holdfast.sandbox.live_output import LiveOutput
from holdfast.sandbox.placement import admission
from holdfast.sandbox.registration import Registration
from holdfast.sandbox.sandboxes import Sandboxes, SandboxHandle, TrackedCall
from holdfast.sandbox.tools import error, lost
from holdfast.sandbox.waiting import loop_time, wait_for_event

log = structlog.get_logger()

RESULT_WINDOW_S: Final = 0.25
"""Seconds after its start in which a call that ends is answered with its result (rule 13)."""

CONFIRM_TIMEOUT_S: Final = 1.0
"""Seconds to wait for the confirmation of a result in an answer before the result is published (rule 14)."""

ANSWERED_RESULT_BYTES: Final = BLOB_THRESHOLD_BYTES
"""A larger result goes by the inbox, which keeps large bodies in the object store."""

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
        call = handle.find(request.call)
        if call is None:
            call = handle.track(request.call)
            if (no := await self.admit(handle, call, request)) is not None:
                return no
        await call.decided.wait()
        if call.phase == "checking":
            raise Unavailable("the call did not start; ask again")
        return await self._answer(handle, call, request)

    async def _answer(self, handle: SandboxHandle, call: TrackedCall, request: Execute) -> Answer:
        """The result if the call ends within the window and nobody has it yet; `accepted` otherwise."""
        call.waiting += 1
        try:
            await wait_for_event(call.ended, call.window_ends_at - loop_time())
        finally:
            call.waiting -= 1
        if handle.is_refused(request.call):
            return Answer(answer="refused")
        if (result := call.result) is None:
            return Answer(answer="accepted")
        faults.point("worker.answered")
        return Answer(answer="result", content=result.content, is_error=result.is_error, lost=result.lost)

    def confirm(self, request: Confirm) -> None:
        """The result of the call is in the log: it need not be published."""
        handle = self._sandboxes.find_any(Key(request.tenant, request.session), request.generation)
        call = handle.find(request.call) if handle is not None else None
        if call is not None and call.phase == "answered":
            call.settled.set()
            faults.point("worker.confirmed")

    async def probe(self, request: Probe) -> Answer:
        """Whether the generation lives here and may run calls. Raises Unavailable if the lease may not last."""
        handle = self._sandboxes.find(Key(request.tenant, request.session), request.generation)
        if handle is None:
            return Answer(answer="gone")
        self._registration.require_fresh()
        return Answer(answer="accepted")

    async def cancel(self, request: Cancel) -> Answer:
        """Kill the call, or refuse it for ever, and drop a result that is not confirmed (rule 18)."""
        handle = self._sandboxes.find(Key(request.tenant, request.session), request.generation)
        if handle is None:
            return Answer(answer="gone")
        handle.refuse(request.call)
        call = handle.find(request.call)
        if call is not None:
            await call.decided.wait()
            if call.phase == "running":
                await handle.sandbox.cancel(request.call)
            call.settled.set()
            await call.finished.wait()
        faults.point("worker.cancelled")
        return Answer(answer="cancelled")

    # --- one call --------------------------------------------------------------------------------------------------

    async def admit(self, handle: SandboxHandle, call: TrackedCall, request: Execute) -> Answer | None:
        """Start the call if the log wants it and the sandbox may still run it; else the answer that says no."""
        try:
            wanted = await self.is_wanted(handle.key, request)
            faults.point("worker.admitted")
            refused = not wanted or handle.is_refused(request.call)
            if refused or not handle.alive:
                handle.forget(request.call)
                return Answer(answer="refused" if refused else "gone")
            self._registration.require_fresh()
        except BaseException:
            handle.forget(request.call)
            raise
        handle.mark_running(request.call, call, window_ends_at=loop_time() + RESULT_WINDOW_S)
        self.start(self.run(handle, call, request))
        faults.point("worker.started")
        return None

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

    async def run(self, handle: SandboxHandle, call: TrackedCall, request: Execute) -> None:
        """Run the call and hand its result over, unless it was cancelled meanwhile."""
        try:
            outcome, is_lost = await self._outcome(handle, request)
            faults.point("worker.ran")
            if not handle.is_refused(request.call):
                result = CallResult(
                    id=request.call,
                    generation=request.generation,
                    content=outcome.content,
                    is_error=outcome.is_error,
                    lost=is_lost,
                )
                await self._hand_over(handle, call, result)
            handle.settle(request.call)
        except Exception:  # in the task group it would end the sandboxes of all sessions
            failure = failures.bug("result")
            log.exception("a result could not be handed over", call=request.call, tool=request.name, failure=failure)
            await self._deliver_failure(handle, call, request)
        finally:
            handle.finish(request.call, loop_time())

    async def _deliver_failure(self, handle: SandboxHandle, call: TrackedCall, request: Execute) -> None:
        """Store an error result in place of one that cannot be stored."""
        outcome = error("the sandbox service failed while this call ran")
        handle.mark_delivering(call)
        result = CallResult(
            id=request.call, generation=request.generation, content=outcome.content, is_error=True
        )  # fmt: skip
        try:
            await results.deliver(self._bus, handle.key, result)
            handle.settle(request.call)
        except Exception:
            log.exception("an error result could not be stored", call=request.call, failure=failures.bug("result"))

    async def _hand_over(self, handle: SandboxHandle, call: TrackedCall, result: CallResult) -> None:
        """Give the result in an answer, if a request waits for it; publish it unless it is confirmed (rule 14)."""
        if call.waiting and len(msgspec.json.encode(result.content)) <= ANSWERED_RESULT_BYTES:
            handle.mark_answered(call, result)
            await wait_for_event(call.settled, CONFIRM_TIMEOUT_S)
            if call.settled.is_set() or handle.is_refused(result.id):
                return
        handle.mark_delivering(call)
        await results.deliver(self._bus, handle.key, result)

    async def _outcome(self, handle: SandboxHandle, request: Execute) -> tuple[Outcome, bool]:
        """The outcome of the call, and whether it was lost with its sandbox. Publishes what the call prints."""
        live = LiveOutput(self._bus.core, handle.key, request.call)
        began_at, failed, span = loop_time(), "", _call_span(handle, request)
        try:
            outcome = await handle.sandbox.run(request.call, request.name, request.input, live.add)
            failed = "tool_error" if outcome.is_error else ""
            return outcome, False  # noqa: TRY300  the usual end
        except SandboxLost as exc:
            failed = f"holdfast.{failures.SANDBOX_LOST}"
            return error(lost(self._hand, exc.reason, self._kept)), True
        except Exception:  # a mistake of ours: this call must still have a result, and the other calls go on
            failure = failures.bug("call")
            failed = f"holdfast.{failure}"
            log.exception("a call failed in the service", call=request.call, tool=request.name, failure=failure)
            return error("the sandbox service failed while this call ran"), False
        finally:
            live.close()
            _record_call(request.name, loop_time() - began_at, failed)
            _end_span(span, failed)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def wait(self, timeout_s: float) -> None:
        """Return when no call runs, or after `timeout_s` seconds."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)

    def abort(self) -> None:
        """Cancel the tasks of all running calls."""
        for task in self._running:
            task.cancel()


def _record_call(tool: str, seconds: float, failed: str) -> None:
    """`failed`: the type of the error; empty if the call ended well. A harness of a newer version may send any name."""
    if metering.is_on():
        labels = {metrics.OPERATION: "execute_tool", metrics.TOOL: tool if tool in EXECUTABLE else metrics.OTHER}
        metering.record(metrics.TOOL_DURATION, seconds, labels | ({metrics.ERROR: failed} if failed else {}))


def _call_span(handle: SandboxHandle, request: Execute) -> LongSpan | None:
    """The span of a call, below that of the turn, whose context came with the request. Neither its input is on it nor
    its result."""
    if not spans.are_recorded():
        return None
    attributes = {
        metrics.OPERATION: "execute_tool", metrics.TOOL: request.name, "gen_ai.tool.call.id": request.call,
        "gen_ai.tool.type": "function", "holdfast.generation": request.generation,
    }  # fmt: skip
    token = context.attach(spans.in_session(handle.key.session))
    try:
        return LongSpan(f"execute_tool {request.name}", SpanKind.INTERNAL, attributes)
    finally:
        context.detach(token)


def _end_span(span: LongSpan | None, failed: str) -> None:
    if span is None:
        return
    if failed:
        span.span.set_attribute(metrics.ERROR, failed)
        span.span.set_status(StatusCode.ERROR, failed)
    span.end()
