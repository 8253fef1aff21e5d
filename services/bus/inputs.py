"""The inputs of a session: one inbox message each, which is stored and wakes a harness in one write. Pure.

An inbox has two subjects in one stream. Clients and the system publish on `in`; hands publish results on `res` and may
publish nowhere else, so that a worker cannot speak for a user. Both share the sequence of the stream, but the position
up to which inputs are taken is kept for each: an arrival names the message before it on its own subject only.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from holdfast.bus.events import Block, ClientEvent

VERSION = 2
"""Version of commits and inputs, as written into each. Version 1 had no cells in its subjects and one sandbox."""


class Input(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """`id` is the dedupe id of the publish (`Nats-Msg-Id`); publishing it again stores nothing."""

    v: int = msgspec.field(default_factory=lambda: VERSION)  # a factory, so that it is always written
    id: str


class ClientInput(Input, frozen=True, kw_only=True, tag="client"):
    """All events of one HTTP request, taken whole and in order. Their ids are final."""

    events: list[ClientEvent]


class CallResult(Input, frozen=True, kw_only=True, tag="result"):
    """The one result of a tool call; `id` is the id of the call. Taken only while that call is open (rule 5)."""

    generation: str
    content: list[Block]
    is_error: bool = False
    lost: bool = False
    """The call did not finish: its sandbox or worker died (rule 17)."""


class HandGone(Input, frozen=True, kw_only=True, tag="hand_gone"):
    """The worker of that generation is dead (rule 17). The owner looks in its log whether calls are lost with it."""

    hand: str
    generation: str


class Nudge(Input, frozen=True, kw_only=True, tag="nudge"):
    """Wakes a harness and carries nothing (rules 11 and 20)."""


AnyInput = ClientInput | CallResult | HandGone | Nudge


Source = Literal["in", "res"]
"""The subject of an inbox that a message is on."""


def source_for(value: AnyInput) -> Source:
    """The subject that an input is published on."""
    return "res" if isinstance(value, CallResult | HandGone) else "in"


class Taken(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far an inbox is taken: the messages of each source up to a stream sequence (rule 5)."""

    inputs: int = 0
    results: int = 0

    def of(self, source: Source) -> int:
        """The sequence up to which the messages of that source are taken."""
        return self.results if source == "res" else self.inputs

    def upto(self, source: Source, seq: int) -> "Taken":
        """The position with the messages of that source taken up to `seq`, or as far as before if that was further."""
        if source == "res":
            return Taken(self.inputs, max(self.results, seq))
        return Taken(max(self.inputs, seq), self.results)


NOTHING_TAKEN = Taken()


class PendingInput(msgspec.Struct, frozen=True):
    """An inbox message that has not been removed, decoded."""

    seq: int
    data: bytes
    input: AnyInput | None
    """None if the body could not be decoded, or may not come from that source."""
    source: Source = "in"
    newer: bool = False
    """True if only a newer version of Holdfast can decode it: this process must not take it, nor what is behind it."""
    previous: int = -1
    """Of an arrival: the sequence of the last message before it on the same subject (0: none); -1: unknown."""

    def above(self, taken: Taken) -> bool:
        """True if it is not taken yet."""
        return self.seq > taken.of(self.source)


def taken_after(taken: Taken, pending: Iterable[PendingInput]) -> Taken:
    """The position once those messages are taken too."""
    for one in pending:
        taken = taken.upto(one.source, one.seq)
    return taken
