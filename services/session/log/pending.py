"""Inputs that this process has accepted and no harness has taken yet: their sessions are shown as running. Pure.

Between the answer to `events.send` and the commit that takes the events lies about a millisecond, or as long as no
harness is up. A client that retrieves the session in that time must not be told that it is idle. This is a hint of one
process: it is lost with the process, and from then on the status is that of the log.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.head import Head, Status, advance, waits_for_client
from holdfast.bus.ids import Key

MAX_SESSIONS: Final = 10_000
"""Sessions remembered at once; the oldest are forgotten first."""


class PendingInput(msgspec.Struct, frozen=True):
    """Events that wait in the inbox up to `seq` of the stream `stream_epoch`, without their content."""

    stream_epoch: str
    seq: int
    events: tuple[ev.ClientEvent, ...]


class PendingInputs:
    """What was put into the inbox of each session and is not known to be taken."""

    def __init__(self) -> None:
        self._inputs: OrderedDict[Key, PendingInput] = OrderedDict()

    def __len__(self) -> int:
        return len(self._inputs)

    def put(self, key: Key, stream_epoch: str, seq: int, events: Sequence[ev.ClientEvent]) -> None:
        """Remember an accepted input."""
        before = self._inputs.pop(key, None)
        waiting = before.events if before and before.stream_epoch == stream_epoch else ()
        self._inputs[key] = PendingInput(stream_epoch, seq, (*waiting, *(_without_content(e) for e in events)))
        if len(self._inputs) > MAX_SESSIONS:
            self._inputs.popitem(last=False)

    def settle(self, key: Key, head: Head) -> None:
        """Forget the input if that head has taken it, or counts in another inbox stream."""
        found = self._inputs.get(key)
        if found and (head.inbox != found.stream_epoch or head.taken.inputs >= found.seq) and head.inbox:
            del self._inputs[key]

    def forget(self, key: Key) -> None:
        """Forget what was accepted of a session that is deleted."""
        self._inputs.pop(key, None)

    def starting(self, tenant: str) -> list[Key]:
        """The sessions of the tenant that a message waits for: a turn of each runs, or will."""
        return [
            key
            for key, found in self._inputs.items()
            if key.tenant == tenant and any(isinstance(event, ev.UserMessage) for event in found.events)
        ]

    def status(self, key: Key, head: Head) -> Status:
        """The status that clients see: running from the moment an input that starts a turn is accepted."""
        if head.status != "idle":
            return head.status
        self.settle(key, head)
        found = self._inputs.get(key)
        return "running" if found and owes_a_turn(head, found.events) else "idle"


def owes_a_turn(head: Head, waiting: Sequence[ev.ClientEvent]) -> bool:
    """Whether the session will run as soon as a harness takes the events that wait."""
    if head.archived or head.deleted:
        return False
    after = advance(head, waiting, head.at + 1)
    called = {call.thread for call in after.calls}
    return any(
        (name in called or after.thread(name).todo) and not waits_for_client(after, name)
        for name in called.union(after.threads)
    )


def _without_content(event: ev.ClientEvent) -> ev.ClientEvent:
    if isinstance(event, ev.UserMessage):
        return replace(event, content=[])
    return replace(event, content=None) if isinstance(event, ev.UserCustomToolResult) else event
