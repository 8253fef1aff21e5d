"""One thread of a claimed session, driven until it rests: take inputs, decide, act, append (rules 5, 6 and 8)."""

from collections.abc import Callable, Collection

from holdfast.bus import events as ev
from holdfast.bus import status
from holdfast.bus.head import Head, Thread
from holdfast.bus.ids import new_id
from holdfast.harness.tools.tool_calls import ToolCalls
from holdfast.harness.turn import decide, idle
from holdfast.harness.turn.appender import Appender, HeadMoved, ThreadRun
from holdfast.harness.turn.intake import Intake
from holdfast.harness.turn.model_turn import ModelTurn
from holdfast.harness.turn.replica import HandOver, Replica
from holdfast.harness.turn.rest import Rest
from holdfast.harness.turn.started_request import StartedRequest
from holdfast.harness.turn.tool_turn import ToolTurn
from holdfast.process.faults import point

INBOX_READ_INTERVAL_S = 15.0
"""Longest wait for the next model request before the inbox is read, in case an arrival was not heard."""


class ThreadTurn:
    """Drives one thread. `running` names the threads that are driven now; `may_release` is that of `Rest`."""

    def __init__(
        self,
        replica: Replica,
        appender: Appender,
        thread_id: str,
        intake: Intake,
        calls: ToolCalls,
        *,
        running: Collection[str],
        may_release: Callable[[Head, str], bool],
    ) -> None:
        self._replica = replica
        self._appender = appender
        self._thread = ThreadRun(appender, thread_id)
        self._intake = intake
        self._running = running
        self._rest = Rest(replica, appender, self._thread, intake, lambda head: may_release(head, thread_id))
        self._model_turn = ModelTurn(replica, appender, self._thread, intake, calls=calls, rest=self._rest)
        self._calls = calls
        self._tool_turn = ToolTurn(replica, appender, self._thread, intake, calls)
        self._left: decide.View | None = None
        """The thread's view when it was left with its tools running, each accepted by its worker."""

    def rests(self, head: Head) -> bool:
        """True if the thread has no next step, or only waits for accepted calls (rule 8)."""
        return decide.view(head, self._thread.id) == self._left or self._decide(head) == decide.Release()

    async def run(self) -> None:
        """Drive the thread until it rests. Raises Fenced, HandOver, Unavailable."""
        at_rest = False
        while not at_rest:
            try:
                await self._intake.take(lambda t: t == self._thread.id or t not in self._running)
                at_rest = await self._step()
            except HeadMoved:
                self._intake.forget()

    async def _step(self) -> bool:  # noqa: C901, PLR0911  one case a step
        """Decide and act. True if the thread rests."""
        head = self._thread.begin_step()
        state = self._thread.state
        if started := await self._started(state):
            return await self._model_turn.respond(started)
        step = self._decide(head)
        if self._replica.draining.is_set() and not isinstance(step, decide.Release | decide.RunTools):
            raise HandOver
        match step:
            case decide.Release(stop=None):
                return True
            case decide.Release(stop=stop, error=error) if stop is not None:
                point("harness.before_release")
                await self._rest.append(stop, error=error, look=False)
                return self.rests(self._appender.head)
            case decide.Interrupt():
                await self._tool_turn.interrupt()
                return await self._rest.close(ev.StopReason("end_turn"))
            case decide.Abandon():
                await self._thread.append(
                    idle.close_request(head, stop="abandoned", thread=self._thread.id, new_id=new_id)
                )
            case decide.RunTools():
                if await self._tool_turn.run():
                    self._left = decide.view(head, self._thread.id)  # what was taken meanwhile is the next step
                    return True
            case decide.Resume():
                await self._thread.append(
                    lambda now: status.running(now, self._appender.config, thread=self._thread.id, new_id=new_id)
                )
            case decide.Sleep(until=until):
                await self._intake.wait(min((until - self._replica.now()) / 1e6, INBOX_READ_INTERVAL_S))
            case decide.Compact():
                return await self._model_turn.compact()
            case _:
                return await self._model_turn.respond()
        return False

    async def _started(self, state: Thread) -> StartedRequest | None:
        """The model request that the last commit has started, unless its response is not wanted any more."""
        started = self._intake.requests.pop(self._thread.id, None)
        if started is None or (state.request == started.start.id and not state.interrupted):
            return started
        await started.drop()
        return None

    def close(self) -> None:
        """Wait for no answer any more."""
        self._calls.close()

    def _decide(self, head: Head) -> decide.Step:
        return decide.decide(
            head,
            now=self._replica.now(),
            fresh_chars=self._thread.context.fresh,
            limits=self._replica.limits(self._appender.config),
            thread=self._thread.id,
        )
