"""The inputs of a session: one inbox message each, which is stored and wakes a harness in one write. Pure."""

import msgspec

from holdfast.bus.events import Block, ClientEvent


class Input(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """`id` is the dedupe id of the publish (`Nats-Msg-Id`); publishing it again stores nothing."""

    v: int = msgspec.field(default_factory=lambda: 1)  # a factory, so that it is always written
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


class Nudge(Input, frozen=True, kw_only=True, tag="nudge"):
    """Wakes a harness and carries nothing (rules 11 and 20)."""


AnyInput = ClientInput | CallResult | Nudge


class PendingInput(msgspec.Struct, frozen=True):
    """An inbox message that has not been removed, decoded."""

    seq: int
    data: bytes
    input: AnyInput | None
    """None if the body could not be decoded."""
    newer: bool = False
    """True if only a newer version of Holdfast can decode it: this process must not take it, nor any input after it."""
    previous: int = -1
    """Of an arrival: the sequence of the last message before it in the same inbox (0: none); -1: unknown."""
