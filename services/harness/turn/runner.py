"""The runner of a session: drives each of its threads that has something to do, and gives the claim up (rules 5 to 9).

Everything it knows comes from the log, and everything it decides is an append that the log refuses if anything else was
appended. So it may be killed between any two lines, and another replica continues.
"""

import asyncio
from typing import Final

from holdfast.bus.head import Head
from holdfast.harness.conversation.snapshot import save_contexts
from holdfast.harness.tools.hand_client import HandClient
from holdfast.harness.tools.tool_calls import ToolCalls
from holdfast.harness.turn.appender import Appender, ClaimedSession, Draft, Fenced, HeadMoved
from holdfast.harness.turn.further_deliveries import FurtherDeliveries
from holdfast.harness.turn.inbox_watch import InboxWatch
from holdfast.harness.turn.intake import Intake
from holdfast.harness.turn.kept_sessions import KeptSession
from holdfast.harness.turn.replica import HandOver, Replica
from holdfast.harness.turn.started_request import StartedRequest
from holdfast.harness.turn.thread_turn import ThreadTurn
from holdfast.harness.turn.turn_span import end_turn
from holdfast.process.faults import point

INBOX_READ_INTERVAL_S: Final = 15.0
"""Longest time that a session of several threads goes without a read of its inbox for those that rest."""


class TurnRunner:
    """Drives one session under one claim.

    `requests` are the model requests that the claim's commit started, by thread. `inbox_known`: the inbox was read for
    that commit.
    """

    def __init__(
        self,
        replica: Replica,
        session: ClaimedSession,
        watch: InboxWatch,
        *,
        requests: dict[str, StartedRequest],
        inbox_known: bool,
    ) -> None:
        self._replica = replica
        self.appender = Appender(replica, session)
        self.intake = Intake(replica, self.appender, watch, requests=requests, inbox_known=inbox_known)
        self.deliveries = FurtherDeliveries(self.appender)
        self._turns: dict[str, ThreadTurn] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """The threads that are driven now."""
        self._hands_over = False

    async def run(self) -> None:
        """Drive until the claim is released. Raises Fenced, HandOver, Unavailable."""
        take = True
        try:
            while not self.appender.released:
                try:
                    if take and not self._hands_over:
                        await self.intake.take(lambda thread: thread not in self._tasks)
                    self._start_turns()
                    if self._tasks:
                        take = await self._wait()
                    else:
                        await self._release()
                except HeadMoved:
                    self.intake.forget()
                    take = True
                except Fenced:
                    if not self.appender.released:  # else an append came too late, behind our own release
                        raise
            end_turn(self.appender.head)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        every = self._replica.settings.snapshot_every
        await save_contexts(self._replica.bus, self.appender.key, self.appender.contexts, every=every)

    def _turn(self, thread: str) -> ThreadTurn:
        if thread not in self._turns:
            self._turns[thread] = ThreadTurn(
                self._replica,
                self.appender,
                thread,
                self.intake,
                ToolCalls(HandClient(self._replica.bus, self.appender.key), hold=self._replica.settings.hold),
                running=self._tasks.keys(),
                may_release=self._may_release,
            )
        return self._turns[thread]

    def _start_turns(self) -> None:
        """Drive each thread that has something to do."""
        head = self.appender.head
        for thread in () if self._hands_over else head.threads:
            if thread not in self._tasks and not self._turn(thread).rests(head):
                self._tasks[thread] = asyncio.create_task(self._turn(thread).run())

    def _may_release(self, head: Head, own: str = "") -> bool:
        """Rule 8: no thread but `own` is driven, and all rest."""
        return self._tasks.keys() <= {own} and all(self._turn(t).rests(head) for t in head.threads)

    async def _wait(self) -> bool:
        """Return when a thread rests, may have something to do, or an input should be taken: then True."""
        unattended = asyncio.create_task(self.intake.unattended(self._tasks.keys()))
        changed = asyncio.create_task(self.appender.changed.wait())
        several = len(self.appender.head.threads) > 1
        try:
            done, _ = await asyncio.wait(
                [*self._tasks.values(), unattended, changed],
                timeout=INBOX_READ_INTERVAL_S if several else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            unattended.cancel()
            changed.cancel()
        self.appender.changed.clear()
        for thread, task in [*self._tasks.items()]:
            if task.done():
                del self._tasks[thread]
                try:
                    task.result()
                except HandOver:
                    self._hands_over = True
        if not done:
            self.intake.forget()
        return not done or unattended in done

    async def _release(self) -> None:
        """Rule 9: give the claim up. Raises HandOver if the process is to stop and a thread is not finished."""
        if self._hands_over:
            raise HandOver
        point("harness.before_release")
        await self.appender.append(lambda _: Draft(release=True), valid=self._may_release)

    def known(self) -> KeptSession:
        """What is known of the session after the release. Its arrivals are heard from now on for whoever gets this."""
        own = self.appender
        return KeptSession(inbox=own.inbox, last=own.last, contexts=own.contexts, watch=self.intake.leave_watch())

    async def renudge(self) -> None:
        """Rule 11, after the release; see `Intake.renudge`."""
        await self.intake.renudge()

    async def close(self) -> None:
        """End every wait for this runner and stop listening to arrivals."""
        self.appender.give_up()
        for turn in self._turns.values():
            turn.close()
        await self.deliveries.close()
        await self.intake.close()
