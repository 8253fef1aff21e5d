"""Inputs whose outcome the client has not looked at yet: the next stream begins with them. Pure.

The examples of the vendor send a message, then open the stream, then wait for `session.status_idle`. Where the turn
ends before the stream is open, they would wait for ever. So the first stream that is opened soon after an input, or
soon after the end of the turn that took it, begins with that input. It does not if the client has learned since how
the session went on: by a stream, by the list of events, or by a status other than running. A client that opens its
stream first and then sends must not be shown the end of the turn before.

This is a hint of one process: with several replicas, a stream that is opened at another one begins with what is stored
from then on.
"""

from collections import OrderedDict
from typing import Final

import msgspec

from holdfast.bus.head import Head
from holdfast.bus.ids import Key

STREAM_OPEN_WINDOW_US: Final = 5_000_000
"""Microseconds after the input, or after the end of its turn, within which a stream must be opened to begin with it."""

MAX_SESSIONS: Final = 10_000
"""Sessions remembered at once; the oldest are forgotten first."""


class UnseenInput(msgspec.Struct, frozen=True):
    """An input that was accepted at `accepted_at` (microseconds since 1970)."""

    first_event_id: str
    seq: int
    """Sequence of the last commit of the session that was known then."""
    accepted_at: int

    def begins_stream(self, head: Head, now: int) -> bool:
        """Whether a stream that opens at `now` (microseconds since 1970) begins with it. `head`: of its session."""
        recent = now - self.accepted_at <= STREAM_OPEN_WINDOW_US
        return recent or (head.status == "idle" and now - head.updated <= STREAM_OPEN_WINDOW_US)


class UnseenInputs:
    """By session, the first input whose outcome nobody has seen. `now` is in microseconds since 1970."""

    def __init__(self) -> None:
        self._inputs: OrderedDict[Key, UnseenInput] = OrderedDict()

    def put(self, key: Key, first_event_id: str, seq: int, *, now: int) -> None:
        """Remember an accepted input, unless one that was accepted shortly before is still unseen."""
        found = self._inputs.get(key)
        if found and now - found.accepted_at <= STREAM_OPEN_WINDOW_US:
            return
        self._inputs[key] = UnseenInput(first_event_id, seq, now)
        self._inputs.move_to_end(key)
        if len(self._inputs) > MAX_SESSIONS:
            self._inputs.popitem(last=False)

    def find(self, key: Key) -> UnseenInput | None:
        """The input of which nobody has seen the outcome, if there is one."""
        return self._inputs.get(key)

    def forget(self, key: Key, unseen: UnseenInput) -> None:
        """A stream is open that shows the outcome of that input."""
        if self._inputs.get(key) is unseen:
            del self._inputs[key]

    def mark_seen(self, key: Key) -> None:
        """The client was shown how the session went on."""
        self._inputs.pop(key, None)
