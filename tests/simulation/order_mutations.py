"""Mutations of the order in which the calls of one response run (rule 12)."""

from collections.abc import Callable

from holdfast.bus.head import Call, Head
from holdfast.harness.tools import call_order
from holdfast.harness.turn import decide, tool_turn
from tests.simulation.swapped import Applied, swapped

whole = call_order.due


def _due(rule: Callable[[Head, str], list[Call]]) -> Applied:
    return swapped((decide, "due", rule), (tool_turn, "due", rule))


def o1_all_ready_calls_run_at_once() -> Applied:
    def at_once(head: Head, thread: str) -> list[Call]:
        return [c for c in head.calls if c.thread == thread and c.state == "ready"]

    return _due(at_once)


def o2_reads_wait_for_nothing() -> Applied:
    """Only what changes something waits for its turn."""

    def hasty(head: Head, thread: str) -> list[Call]:
        turn = whole(head, thread)
        return [c for c in head.calls if c in turn or (c.thread == thread and c.state == "ready" and c.reads)]

    return _due(hasty)


def o3_changes_do_not_wait_for_reads() -> Applied:
    """A call that changes something waits only for others that do."""

    def hasty(head: Head, thread: str) -> list[Call]:
        found, changes = list[Call](), False
        for call in head.calls:
            if call.thread == thread and call.hand:
                if call.state == "ready" and not changes:
                    found.append(call)
                changes = changes or not call.reads
        return found

    return _due(hasty)
