"""Whether a delivery is done, and the commit that claims its session (rules 2 and 4). Pure."""

from collections.abc import Sequence
from typing import Final

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.commits import Commit, InboxPosition, Stored, commit
from holdfast.bus.head import PRIMARY_THREAD, Claim, Head, advance
from holdfast.bus.ids import NewId
from holdfast.bus.inputs import PendingInput, Source
from holdfast.harness.turn.decide import Limits, error, request_start
from holdfast.harness.turn.idle import closed
from holdfast.harness.turn.ingest import ingest

TAKEOVER_LIMIT: Final = 3
"""Takeovers of one trigger without progress before the turn is closed with an error (rule 4)."""


class Writer(msgspec.Struct, frozen=True):
    """What a commit records of its writer: its name, the time in microseconds, and where new ids come from."""

    name: str
    now: int
    new_id: NewId


class Trigger(msgspec.Struct, frozen=True):
    """The inbox message for which a session is claimed."""

    seq: int
    source: Source
    delivery: int = 0
    """The number of the delivery that brought it."""


class ClaimCommit(msgspec.Struct, frozen=True):
    """A commit that claims the session. `requests` are the model requests that it starts, by thread."""

    commit: Commit
    claim: Claim
    requests: dict[str, ev.ModelRequestStart]


def is_done(head: Head, inbox: str, seq: int, source: Source) -> bool:
    """Rule 2: the message may be acked, as its input is in the log and it is not the trigger of the open claim."""
    return seq <= head.taken_in(inbox).of(source) and not (head.claim and head.claim.trigger == seq)


def failures_of(head: Head, seq: int) -> int:
    """Takeovers of trigger `seq` without progress, this one included; 0 if it has not been claimed before."""
    return head.claim.failures + 1 if head.claim and head.claim.trigger == seq else 0


def claim_commit(
    last: Stored,
    config: ev.SessionConfig,
    pending: Sequence[PendingInput],
    *,
    inbox: str,
    trigger: Trigger,
    limits: Limits,
    writer: Writer,
    starts: bool = True,
) -> ClaimCommit:
    """Rule 4: the commit that claims the session after `last` and takes the pending inputs above `taken`.

    If a model request is the next step of a thread, its start is part of the commit. Not `starts`: more inputs wait,
    and are taken before.
    """
    head, new_id = last.commit.head, writer.new_id
    taken = head.taken_in(inbox)
    inputs = [p for p in pending if p.above(taken)]
    claim = Claim(
        id=new_id("clm"),
        by=writer.name,
        trigger=trigger.seq,
        failures=failures_of(head, trigger.seq),
        source=trigger.source,
        delivery=trigger.delivery,
    )
    ingested = ingest(head, config, inputs, taken, new_id=new_id)
    after = advance(head, ingested.events, writer.now)
    requests: dict[str, ev.ModelRequestStart] = {}
    for thread in after.threads if inputs and starts else ():
        fresh_chars = sum(len(p.data) for p in inputs)
        request = request_start(
            after, now=writer.now, fresh_chars=fresh_chars, limits=limits, thread=thread, new_id=new_id
        )
        if request is not None:
            requests[thread] = request
    events = [*ingested.events, *requests.values()]
    position = InboxPosition(inbox, ingested.taken, ingested.ids)
    made = commit(last, events, by=writer.name, new_id=new_id, now=writer.now, claim=claim, taken=position)
    return ClaimCommit(made, claim, requests)


def closing_commit(
    last: Stored, config: ev.SessionConfig, *, inbox: str, trigger: Trigger, parked: int, writer: Writer
) -> Commit:
    """Rule 4 at TAKEOVER_LIMIT: inputs up to the trigger are taken unread, each turn ends with an error, no claim.

    `parked`: how many inputs that are, which have been parked before.
    """
    head, events = last.commit.head, list[ev.Event]()
    text = "The turn was given up: every harness that worked on it stopped before it got anywhere."
    if parked:
        text += f" What was sent and not yet read ({parked}) was set aside; the operator can look at it and release it."
    for thread in _at_work(head) or [PRIMARY_THREAD]:
        events += closed(
            advance(head, events, writer.now),
            config,
            ev.StopReason("retries_exhausted"),
            now=writer.now,
            thread=thread,
            new_id=writer.new_id,
            error=error("unknown_error", text, "exhausted"),
        )
    position = InboxPosition(inbox, head.taken_in(inbox).upto(trigger.source, trigger.seq))
    return commit(last, events, by=writer.name, new_id=writer.new_id, now=writer.now, claim=None, taken=position)


def _at_work(head: Head) -> list[str]:
    """The threads that are not idle, owe a response, or have calls that run."""
    called = {c.thread for c in head.calls if c.state == "ready"}
    return [name for name, t in head.threads.items() if t.status != "idle" or t.todo or t.request or name in called]
