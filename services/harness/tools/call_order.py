"""The order of the calls of one response (rule 12). Pure.

A model that asks for several calls at once expects their effects in the order in which it wrote them. What changes
something is a barrier: it starts when all calls before it have their results, and what follows it starts when it has
its own. What only reads runs side by side between barriers, up to `SIDE_BY_SIDE`. Hands share nothing, so each has an
order of its own.
"""

from collections import Counter
from typing import Final

from holdfast.bus.head import Call, Head

SIDE_BY_SIDE: Final = 16
"""Calls of one thread that run on one hand at once. Hundreds would be sent, answered and stored in one go, and other
sessions of the same harness and worker would wait for all of that."""


def due(head: Head, thread: str) -> list[Call]:
    """The calls of the thread that are to run now, in the order of the response.

    The others that are ready wait for the result of an earlier call of the same hand. As long as a call is open that
    is ready, at least one is due, or a call before it waits for the client.
    """
    found: list[Call] = []
    earlier: Counter[str] = Counter()
    """By hand: open calls before this one."""
    barred: set[str] = set()
    """Hands with an open call before this one that changes something."""
    for call in head.calls:
        if call.thread != thread or not call.hand:
            continue
        before = earlier[call.hand]
        may_run = call.hand not in barred and before < SIDE_BY_SIDE if call.reads else not before
        if call.state == "ready" and may_run:
            found.append(call)
        earlier[call.hand] += 1
        if not call.reads:
            barred.add(call.hand)
    return found
