"""The runner of a session: one loop that takes inputs, decides, acts and appends (rules 5 to 9).

Everything it knows comes from the log, and everything it decides is an append that the log refuses if anything else was
appended. So it may be killed between any two lines, and another replica continues.
"""

from typing import Final

from holdfast.bus import events as ev
from holdfast.bus.events import status
from holdfast.bus.head import PRIMARY_THREAD
from holdfast.bus.ids import new_id
from holdfast.harness.conversation.snapshot import save_contexts
from holdfast.harness.tools.hand_client import HandClient
from holdfast.harness.tools.tool_calls import ToolCalls
from holdfast.harness.turn import decide, idle
from holdfast.harness.turn.appender import Appender, ClaimedSession, HeadMoved, ThreadRun
from holdfast.harness.turn.further_deliveries import FurtherDeliveries
from holdfast.harness.turn.inbox_watch import InboxWatch
from holdfast.harness.turn.intake import Intake
from holdfast.harness.turn.model_turn import ModelTurn
from holdfast.harness.turn.replica import HandOver, Replica
from holdfast.harness.turn.tool_turn import ToolTurn
from holdfast.process.faults import point

INBOX_READ_INTERVAL_S: Final = 15.0
"""Longest wait for the next model request before the inbox is read, in case an arrival was not heard."""


class TurnRunner:
    """Drives one session under one claim.

    `request` is the model request that the claim's commit started. `inbox_known`: the inbox was read for that commit.
    """

    def __init__(
        self,
        replica: Replica,
        session: ClaimedSession,
        watch: InboxWatch,
        *,
        request: ev.ModelRequestStart | None,
        inbox_known: bool,
    ) -> None:
        self._replica = replica
        self._request = request
        self.appender = Appender(replica, session)
        self._thread = ThreadRun(self.appender, PRIMARY_THREAD)
        self.intake = Intake(replica, self.appender, self._thread, watch, inbox_known=inbox_known)
        self.deliveries = FurtherDeliveries(self.appender)
        self._calls = calls = ToolCalls(HandClient(replica.bus, session.key), hold=replica.settings.hold)
        self._model_turn = ModelTurn(replica, self.appender, self._thread, self.intake, calls)
        self._tool_turn = ToolTurn(replica, self.appender, self._thread, self.intake, calls)

    async def run(self) -> None:
        """Drive until the claim is released. Raises Fenced, HandOver, Unavailable."""
        request, self._request = self._request, None
        released = False
        while not released:
            try:
                request = await self.intake.take(request)
                released = await self._step(request)
            except HeadMoved:
                self.intake.forget()
            request = None
        every = self._replica.settings.snapshot_every
        await save_contexts(self._replica.bus, self.appender.key, self.appender.contexts, every=every)

    async def _step(self, request: ev.ModelRequestStart | None) -> bool:  # noqa: C901, PLR0911  one case a step
        """Decide and act. True if the claim was released. `request` has been started and not sent."""
        state = self._thread.state
        if request and state.request == request.id and not state.interrupted:
            return await self._model_turn.respond(request)
        step = self._decide()
        if self._replica.draining.is_set() and not isinstance(step, decide.Release | decide.RunTools):
            raise HandOver
        match step:
            case decide.Release():
                await self._release(step)
                return True
            case decide.Interrupt():
                return await self._tool_turn.interrupt()
            case decide.Abandon():
                await self.appender.append(
                    idle.close_request(self.appender.head, stop="abandoned", thread=self._thread.id, new_id=new_id)
                )
            case decide.RunTools():
                return await self._tool_turn.run()
            case decide.Resume():
                await self.appender.append(status.running(self.appender.config, thread=self._thread.id, new_id=new_id))
            case decide.Sleep(until=until):
                await self.intake.wait(min((until - self._replica.now()) / 1e6, INBOX_READ_INTERVAL_S))
            case decide.Compact():
                return await self._model_turn.compact()
            case decide.CallModel():
                return await self._model_turn.respond()
        return False

    def _decide(self) -> decide.Step:
        return decide.decide(
            self.appender.head,
            now=self._replica.now(),
            fresh_chars=self._thread.context.fresh,
            limits=self._replica.limits(self.appender.config),
            thread=self._thread.id,
        )

    async def _release(self, step: decide.Release) -> None:
        """Rule 9: give the claim up, in the same commit as the events of becoming idle."""
        events: list[ev.Event] = []
        if step.stop is not None:
            events = idle.idle(
                self.appender.head,
                self.appender.config,
                step.stop,
                now=self._replica.now(),
                thread=self._thread.id,
                new_id=new_id,
                error=step.error,
            )
        point("harness.before_release")
        await self.appender.append(events, release=True)

    async def renudge(self) -> None:
        """Rule 11, after the release; see `Intake.renudge`."""
        await self.intake.renudge()

    async def close(self) -> None:
        """End every wait for this runner and stop listening to arrivals."""
        self.appender.give_up()
        self._calls.close()
        await self.deliveries.close()
        await self.intake.close()
