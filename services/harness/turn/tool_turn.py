"""Tool calls of one thread: binding, sending, waiting for results, interrupting (rules 8, 12, 15 and 18)."""

from holdfast.bus import events as ev
from holdfast.bus.head import Call, is_unbound
from holdfast.harness.tools.call_order import due
from holdfast.harness.tools.tool_calls import ToolCalls
from holdfast.harness.turn.appender import Appender, ThreadRun
from holdfast.harness.turn.intake import Intake
from holdfast.harness.turn.replica import HandOver, Replica
from holdfast.process.faults import point


class ToolTurn:
    """Has the calls of one thread run, in their order, and appends what comes of it."""

    def __init__(
        self, replica: Replica, appender: Appender, thread: ThreadRun, intake: Intake, calls: ToolCalls
    ) -> None:
        self._replica = replica
        self._appender = appender
        self._thread = thread
        self._intake = intake
        self._calls = calls

    async def run(self) -> bool:
        """Send the calls that are due and append their results. True once they have run for longer than `hold`.

        The thread then rests. The results are then awaited by nobody, and wake the session as any input does.
        """
        last = self._appender.last
        head = last.commit.head
        ready = due(head, self._thread.id)
        if any(is_unbound(c) for c in ready):
            await self._thread.append(await self._calls.provide(last, self._thread.id))
            return False
        bound = [c for c in head.calls if c.state == "ready" and c.thread == self._thread.id and c.generation]
        if strays := self._calls.strays(head, bound):
            await self._lose(strays)
            return False
        self._calls.send(last, ready, self._appender.contexts)
        await self._calls.answered(ready, self._intake.any)
        results, events = self._calls.replies(head, ready)
        if results:
            await self._intake.append_results(results, self._thread.id)
            self._calls.confirm(head, results)
            return False
        if events:
            await self._lose(events)
            return False
        return await self._wait(ready)

    async def _lose(self, events: list[ev.Event]) -> None:
        """Append error results of calls."""
        if not await self._intake.result_waits():  # a result stored before its worker died counts
            await self._thread.append(events, progress=True)

    async def _wait(self, ready: list[Call]) -> bool:
        """Wait for results or further answers. True once the tools run for longer than `hold`."""
        point("harness.calls_sent")
        draining = self._replica.draining.is_set()
        if self._calls.all_accepted(ready):
            if draining or self._calls.hold_is_over():
                return True
        elif draining and not self._calls.under_way(ready):
            raise HandOver
        if self._intake.any.is_set() or self._calls.under_way(ready):
            return False
        await self._intake.wait(self._calls.poll_interval(ready))
        return False

    async def interrupt(self) -> None:
        """Rule 18: have the thread's open calls refused for ever by their workers."""
        await self._calls.cancel_all(self._appender.head, self._thread.id)
