"""Results of tool calls that the harness makes itself: errors, and the loss of a hand (rule 15). Pure."""

from collections.abc import Sequence
from typing import Final

from holdfast.bus import events as ev
from holdfast.bus.head import Call, Head
from holdfast.bus.ids import NewId

CALL_INTERRUPTED: Final = "The execution was interrupted before it was completed. Try again if it is still needed."
CALL_LOST: Final = "The {hand} was lost, so this call did not finish."
"""Followed by the sentence of its driver that says what is left."""


def text_content(message: str) -> list[ev.Block]:
    """The content of a result that is one text."""
    return [{"type": "text", "text": message}]


def error_result(call_id: str, message: str, *, thread: str, new_id: NewId) -> ev.AgentToolResult:
    """An error result of the call, which is of that thread."""
    return ev.AgentToolResult(
        id=new_id("sevt"), thread=thread, tool_use_id=call_id, content=text_content(message), is_error=True
    )


def hand_lost(
    head: Head, hand: str, generation: str, reason: str, calls: Sequence[Call], *, new_id: NewId
) -> list[ev.Event]:
    """Rule 15: the generation of the hand is over, and each of its open `calls` gets an error result."""
    bound = head.hands.get(hand)
    kept = bound.kept if bound and bound.generation == generation else ""
    text = f"{CALL_LOST.format(hand=hand)} {kept}".rstrip()
    results = [error_result(call.id, text, thread=call.thread, new_id=new_id) for call in calls]
    return [*results, ev.HandLost(id=new_id("sevt"), hand=hand, generation=generation, reason=reason)]
