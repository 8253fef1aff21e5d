"""A commit: the unit of the log. All its events are stored or none; it carries the head that it leads to. Pure."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from holdfast.bus.events import AnyEvent, Event
from holdfast.bus.head import RECENT_INPUT_IDS, Claim, Head, advance
from holdfast.bus.ids import NewId
from holdfast.bus.inputs import VERSION, Taken


class Commit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`at` is the `processed_at` of the first event in microseconds; event i has `at + i`. `by` names the writer."""

    v: int = msgspec.field(default_factory=lambda: VERSION)  # a factory, so that it is always written
    id: str
    at: int
    by: str
    head: Head
    events: list[AnyEvent]


class Stored(msgspec.Struct, frozen=True):
    """A commit with its sequence in the stream. The position of its event i is `<seq>-<i>`."""

    seq: int
    commit: Commit
    traceparent: str = ""
    """W3C trace context of the span in which it was written; empty if its message has none, or was not asked for it."""


class InboxPosition(msgspec.Struct, frozen=True):
    """The inputs that a commit takes: all up to `taken` in the epoch `inbox` of the stream, with their ids."""

    inbox: str
    taken: Taken
    ids: tuple[str, ...] = ()


def commit(
    before: Stored | None,
    events: Sequence[Event],
    *,
    by: str,
    now: int,
    new_id: NewId,
    claim: Claim | UnsetType | None = UNSET,
    taken: InboxPosition | None = None,
) -> Commit:
    """The commit that follows `before` (None: the first of its session), with a later time.

    `now` is microseconds since 1970. The events must be complete; nothing is added to them. Without `claim` the claim
    stays as it was. A tombstone ends it: its owner finds that it has lost the session, and appends nothing more.
    """
    head = before.commit.head if before else Head()
    if before and not head.config:
        head = replace(head, config=before.seq)
    at = max(now, head.at + 1)
    head = advance(head, events, at)
    if head.deleted:
        claim = None
    if claim is not UNSET:
        head = replace(head, claim=claim)
    if taken:
        head = replace(
            head, inbox=taken.inbox, taken=taken.taken, recent=(*head.recent, *taken.ids)[-RECENT_INPUT_IDS:]
        )
    return Commit(id=new_id("cmt"), at=at, by=by, head=head, events=list(events))  # pyright: ignore[reportArgumentType]
