"""Inputs whose outcome the client has not looked at yet: a stream that is opened after `events.send` misses nothing.

The examples of the vendor send a message, then open the stream, then wait for `session.status_idle`. A turn that ends
before the stream is open would leave them waiting for ever. So the first stream that is opened after an input begins
with that input. It does not if the client has seen since how the session goes on, by a stream, by the list of events or
by a status other than running: a client that opens the stream first and then sends must not be shown the end of the
turn before. Only a hint of this process: with several replicas a client whose stream is opened at another one is shown
what is stored from then on.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from holdfast.bus.ids import Key

WITHIN_US: Final = 5_000_000
"""Microseconds within which a stream must be opened after the input."""

SESSIONS: Final = 10_000
"""Sessions remembered at once; the oldest are forgotten first."""


class Input(msgspec.Struct, frozen=True):
    """Accepted at `at` (microseconds since 1970), when `seq` was the last commit known; `event` is the first of it."""

    event: str
    seq: int
    at: int


class Unseen:
    """By session, the first input that nobody has seen the outcome of. `now` gives microseconds since 1970."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._inputs: OrderedDict[Key, Input] = OrderedDict()

    def put(self, key: Key, event: str, seq: int) -> None:
        """Remember an accepted input, unless an earlier one is still unseen."""
        now = self._now()
        found = self._inputs.get(key)
        if found and now - found.at <= WITHIN_US:
            return
        self._inputs[key] = Input(event, seq, now)
        self._inputs.move_to_end(key)
        if len(self._inputs) > SESSIONS:
            self._inputs.popitem(last=False)

    def take(self, key: Key) -> Input | None:
        """The input with which a stream that opens now begins, if any; it is forgotten."""
        found = self._inputs.pop(key, None)
        return found if found and self._now() - found.at <= WITHIN_US else None

    def seen(self, key: Key) -> None:
        """The client was shown how the session goes on."""
        self._inputs.pop(key, None)
