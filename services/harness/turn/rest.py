"""The commit with which a thread becomes idle; the last thread's gives the claim up (rules 8 and 9)."""

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.bus import events as ev
from holdfast.bus.head import Head, advance
from holdfast.bus.ids import new_id
from holdfast.harness.turn import decide, idle
from holdfast.harness.turn.appender import Appender, ThreadRun
from holdfast.harness.turn.intake import Intake
from holdfast.harness.turn.replica import Replica
from holdfast.process.faults import point

Before = Callable[[Head], Sequence[ev.Event]]
"""The events that precede those of becoming idle, made from the head that they follow."""


class Rest:
    """Brings one thread to rest. `may_release` says of a head whether all threads of the session rest."""

    def __init__(
        self,
        replica: Replica,
        appender: Appender,
        thread: ThreadRun,
        intake: Intake,
        may_release: Callable[[Head], bool],
    ) -> None:
        self._replica = replica
        self._now = replica.now
        self._appender = appender
        self._thread = thread
        self._intake = intake
        self._may_release = may_release

    async def append(
        self,
        stop: ev.StopReason,
        *,
        before: Before = lambda _: (),
        error: dict[str, Any] | None = None,
        details: dict[str, Any] | None = None,
        request: ev.ModelRequestStart | None = None,
        progress: bool = False,
        look: bool = True,
    ) -> bool:
        """Append `before` and the events of becoming idle. Raises HeadMoved, Fenced, Unavailable.

        `look`: read the inbox first. Returns whether the claim was released: nothing waits and all threads rest.
        """

        def events(head: Head) -> list[ev.Event]:
            return self._events(head, stop, before=before(head), error=error, details=details)

        waits = look and await self._intake.waits()
        if waits:
            self._intake.forget()  # none of the inputs may have been heard
        return await self._thread.append(
            events, release=lambda after: not waits and self._may_release(after), request=request, progress=progress
        )

    async def append_response(self, response: Before, request: ev.ModelRequestStart) -> bool:
        """Append a response, and with it the events of becoming idle if that is the thread's next step.

        Not if an input was heard, or may have been missed: then the thread takes it first. Returns and raises as
        `append`.
        """

        def events(head: Head) -> list[ev.Event]:
            given = [*response(head)]
            rest = self._rest_after(head, given)
            if rest is None or rest.stop is None:
                return given
            point("harness.before_release")
            return self._events(head, rest.stop, before=given, error=rest.error)

        return await self._thread.append(events, release=self._may_release, request=request, progress=True)

    def _rest_after(self, head: Head, events: Sequence[ev.Event]) -> decide.Release | None:
        """How the thread comes to rest after these events, if that is its next step and nothing waits."""
        if not self._intake.nothing_waits:
            return None
        now, limits = self._now(), self._replica.limits(self._appender.config)
        after = advance(head, events, now)
        step = decide.decide(after, now=now, fresh_chars=0, limits=limits, thread=self._thread.id)
        return step if isinstance(step, decide.Release) else None

    def _events(
        self,
        head: Head,
        stop: ev.StopReason,
        *,
        before: Sequence[ev.Event],
        error: dict[str, Any] | None = None,
        details: dict[str, Any] | None = None,
    ) -> list[ev.Event]:
        """`before`, and the events of becoming idle after it."""
        return idle.idle(
            head,
            self._appender.config,
            stop,
            now=self._now(),
            thread=self._thread.id,
            new_id=new_id,
            before=before,
            error=error,
            details=details,
        )

    async def close(self, stop: ev.StopReason) -> bool:
        """As `append`, after the end of the thread's open model request and error results for its open calls."""

        def open_work(head: Head) -> list[ev.Event]:
            return [
                *idle.close_request(head, stop="abandoned", thread=self._thread.id, new_id=new_id),
                *idle.close_calls(head, thread=self._thread.id, new_id=new_id),
            ]

        return await self.append(stop, before=open_work)
