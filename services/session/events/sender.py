"""Which events a caller may send. Pure.

A publisher brings work in, and answers for nobody: to allow a tool call, to give a result and to interrupt is left to
keys with all rights in the tenant.
"""

from collections.abc import Iterable

from holdfast.bus import events as ev
from holdfast.session.http.caller import Caller
from holdfast.session.http.errors import forbidden


def check_sender(caller: Caller, events: Iterable[ev.ClientEvent]) -> None:
    """Raise ApiError 403 for an event that the caller's key may not send."""
    if caller.role != "publisher":
        return
    if other := next((event for event in events if not isinstance(event, ev.UserMessage)), None):
        raise forbidden(f"a key of the role publisher may send user.message events, and no {ev.type_of(other)}")
