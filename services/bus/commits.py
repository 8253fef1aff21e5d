"""A commit: the unit of the log. All its events are stored or none; it carries the head that it leads to."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from holdfast.bus.events import AnyEvent, Event
from holdfast.bus.head import RECENT, Claim, Head, advance
from holdfast.bus.ids import new_id


class Commit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`at` is the `processed_at` of the first event in microseconds; event i has `at + i`. `by` names the writer."""

    v: int = msgspec.field(default_factory=lambda: 1)  # a factory, so that it is always written
    id: str
    at: int
    by: str
    head: Head
    events: list[AnyEvent]


class Stored(msgspec.Struct, frozen=True):
    """A commit with its sequence in the stream. The position of its event i is `<seq>-<i>`."""

    seq: int
    commit: Commit


class InboxPosition(msgspec.Struct, frozen=True):
    """What a commit takes from the inbox: everything up to `seq` of that incarnation, with the ids of those inputs."""

    inbox: str
    seq: int
    ids: tuple[str, ...] = ()


class _Keep:
    pass


KEEP: Final = _Keep()
"""The claim stays what it was."""


def commit(
    before: Stored | None,
    events: Sequence[Event],
    *,
    by: str,
    now: int,
    claim: Claim | _Keep | None = KEEP,
    taken: InboxPosition | None = None,
) -> Commit:
    """The commit that follows `before` (None: the first of its session), stamped no earlier. Pure but for its id.

    `now` is microseconds since 1970. The events must be complete; nothing is added to them.
    """
    head = before.commit.head if before else Head()
    if before and not head.config:
        head = replace(head, config=before.seq)
    at = max(now, head.at + 1)
    head = advance(head, events, at)
    if not isinstance(claim, _Keep):
        head = replace(head, claim=claim)
    if taken:
        head = replace(head, inbox=taken.inbox, taken=taken.seq, recent=(*head.recent, *taken.ids)[-RECENT:])
    return Commit(id=new_id("cmt"), at=at, by=by, head=head, events=list(events))  # pyright: ignore[reportArgumentType]
