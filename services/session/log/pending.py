"""What this process has accepted for sessions and no harness has taken yet: who sent a message sees the session run.

Between the 200 of a request and the commit that takes its events lies about a millisecond, or as long as no harness
lives. A client that asks in that time must not be told that the session rests. Only a hint: it is lost with the
process, and the log then says it all.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.head import Head, Status
from holdfast.bus.ids import Key
from holdfast.session.log.serialize import owes_a_turn

MOST: Final = 10_000
"""Sessions remembered at once; the oldest are forgotten first."""


class Input(msgspec.Struct, frozen=True):
    """Events that wait in the inbox up to `seq` of that incarnation, without their content."""

    inbox: str
    seq: int
    events: tuple[ev.ClientEvent, ...]


class PendingInputs:
    """By session, what was put into its inbox and is not known to be taken."""

    def __init__(self) -> None:
        self._inputs: OrderedDict[Key, Input] = OrderedDict()

    def __len__(self) -> int:
        return len(self._inputs)

    def put(self, key: Key, inbox: str, seq: int, events: Sequence[ev.ClientEvent]) -> None:
        """Remember an accepted input."""
        before = self._inputs.pop(key, None)
        waiting = before.events if before and before.inbox == inbox else ()
        self._inputs[key] = Input(inbox, seq, (*waiting, *(_bare(e) for e in events)))
        if len(self._inputs) > MOST:
            self._inputs.popitem(last=False)

    def settle(self, key: Key, head: Head) -> None:
        """Forget what that head has taken."""
        found = self._inputs.get(key)
        if found and (head.inbox != found.inbox or head.taken >= found.seq) and head.inbox:
            del self._inputs[key]

    def status(self, key: Key, head: Head) -> Status:
        """The status that a client is shown: running as soon as its input is accepted."""
        if head.status != "idle":
            return head.status
        self.settle(key, head)
        found = self._inputs.get(key)
        return "running" if found and owes_a_turn(head, found.events) else "idle"


def _bare(event: ev.ClientEvent) -> ev.ClientEvent:
    if isinstance(event, ev.UserMessage):
        return replace(event, content=[])
    return replace(event, content=None) if isinstance(event, ev.UserCustomToolResult) else event
