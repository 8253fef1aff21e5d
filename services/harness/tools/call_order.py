"""The order of the calls of one response (rule 12). Pure.

A model that asks for several calls at once expects their effects in the order in which it wrote them. What changes
something is a barrier: it starts when all calls before it have their results, and what follows it starts when it has
its own. What only reads runs side by side between barriers. Hands share nothing, so each has an order of its own.
"""

from holdfast.bus.head import Call, Head


def due(head: Head, thread: str) -> list[Call]:
    """The calls of the thread that are to run now, in the order of the response.

    The others that are ready wait for the result of an earlier call of the same hand. As long as a call is open that
    is ready, at least one is due, or a call before it waits for the client.
    """
    found: list[Call] = []
    earlier: set[str] = set()
    """Hands with an open call before this one."""
    barred: set[str] = set()
    """Hands with an open call before this one that changes something."""
    for call in head.calls:
        if call.thread != thread or not call.hand:
            continue
        if call.state == "ready" and call.hand not in (barred if call.reads else earlier):
            found.append(call)
        earlier.add(call.hand)
        if not call.reads:
            barred.add(call.hand)
    return found
