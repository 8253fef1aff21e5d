"""Mutations of the rules 6, 8, 9 and 18 with several threads in one session."""

from typing import Any

from holdfast.bus import events as ev
from holdfast.bus import status
from holdfast.bus.head import Head
from holdfast.bus.ids import NewId, new_id
from holdfast.harness.turn import appender, idle
from holdfast.harness.turn.appender import ThreadRun
from holdfast.harness.turn.runner import TurnRunner
from tests.simulation.swapped import Applied, swapped


def t1_released_while_a_thread_has_work() -> Applied:
    """The first thread that comes to rest gives the claim up."""
    return swapped((TurnRunner, "_may_release", lambda _self, _head, own="": True))


def t2_the_session_is_idle_with_each_thread() -> Applied:
    """The session is shown as idle as soon as one of its threads is."""
    whole = status.idle

    def eager(head: Head, config: ev.SessionConfig, stop: ev.StopReason, **kw: Any) -> list[ev.Event]:
        events = whole(head, config, stop, **kw)
        shown = [e for e in events if isinstance(e, ev.SessionStatusIdle)]
        return events if shown else [*events, ev.SessionStatusIdle(id=new_id("sevt"), stop_reason=stop)]

    return swapped((status, "idle", eager))


def t3_a_step_is_decided_again_after_any_append() -> Applied:
    """A step is valid only after the very head that it was decided on, also the end of a model request."""
    append = ThreadRun.append

    async def strict(self: ThreadRun, events: Any, *, request: Any = None, **kw: Any) -> bool:
        return await append(self, events, **kw)

    return swapped((ThreadRun, "append", strict), (appender, "view", lambda head, _thread: head))


def t4_an_interrupt_closes_the_calls_of_all_threads() -> Applied:
    close_calls = idle.close_calls

    def wide(head: Head, *, thread: str, new_id: NewId) -> list[ev.Event]:
        threads = dict.fromkeys([thread, *(c.thread for c in head.calls)])
        return [event for name in threads for event in close_calls(head, thread=name, new_id=new_id)]

    return swapped((idle, "close_calls", wide))
