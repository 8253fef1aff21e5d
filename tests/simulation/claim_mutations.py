"""Mutations of the rules 1 to 11, 21 and 23: how a session is claimed, driven, and given back."""

import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.api import Delivery
from holdfast.bus.commits import Stored, commit
from holdfast.bus.errors import Unavailable
from holdfast.bus.head import Claim, Head
from holdfast.bus.ids import Key, NewId, new_id
from holdfast.bus.inputs import NOTHING_TAKEN, PendingInput, Taken
from holdfast.harness.tools import tool_calls
from holdfast.harness.tools.hand_client import HandClient
from holdfast.harness.turn import (
    appender,
    claim,
    dispatch,
    further_deliveries,
    inbox_watch,
    ingest,
    intake,
    known_inputs,
)
from holdfast.harness.turn.appender import Appender
from holdfast.harness.turn.inbox_batches import Batch
from holdfast.harness.turn.one_at_a_time import OneAtATime
from holdfast.harness.turn.runner import TurnRunner
from holdfast.session.jobs.replica_watch import ReplicaWatch
from holdfast.testing.memory.consumer import DELIVERY, MemoryDelivery
from holdfast.testing.memory.inbox import MemoryInbox
from holdfast.testing.memory.log import MemoryLog
from holdfast.testing.memory.server import MemoryServer
from tests.simulation import invariants
from tests.simulation.swapped import Applied, swapped


def reclaim_with_the_old_trigger() -> Applied:
    """After the release something waits: claim again with the trigger that is in hand, instead of a nudge."""
    drive = dispatch.Dispatcher.drive

    async def again(self: dispatch.Dispatcher, runner: TurnRunner, delivery: Delivery) -> None:
        own = runner.appender

        async def claim_again() -> None:
            if await runner.intake.waits():
                last = await self.replica.bus.log.head(delivery.key, leader=True)
                assert last is not None
                own.claim = Claim(id=new_id("clm"), by=own.by, trigger=delivery.seq)
                made = commit(last, [], by=own.by, new_id=new_id, now=self.replica.now(), claim=own.claim)
                seq = await self.replica.bus.log.append(delivery.key, made, last.seq)
                own.fold(Stored(seq, made))
                own.released = False
                await runner.run()

        runner.renudge = claim_again
        await drive(self, runner, delivery)

    return swapped((dispatch.Dispatcher, "drive", again))


def take_only_the_trigger() -> Applied:
    """A claim takes nothing but its trigger, though more waits before it."""
    whole = claim.ingest

    def one(head: Head, config: ev.SessionConfig, inputs: Any, taken: Taken, *, new_id: NewId) -> ingest.Ingested:
        return whole(head, config, inputs[-1:], taken, new_id=new_id)

    return swapped((claim, "ingest", one))


def no_look_for_the_own_commit() -> Applied:
    """After an unanswered append only foreign claims are looked for: none is taken as one's own."""
    append, catch_up = Appender.append, Appender.catch_up

    async def naive(self: Appender, *args: Any, **kwargs: Any) -> None:
        try:
            await append(self, *args, **kwargs)
        except Unavailable:
            await self.catch_up()
            raise appender.HeadMoved from None

    async def look(self: Appender) -> None:
        try:
            await catch_up(self)
        except appender.Fenced:
            if self.head.claim is not None:
                raise

    return swapped((Appender, "append", naive), (Appender, "catch_up", look))


def claims_known_by_name() -> Applied:
    """A claim is mine if it carries the name of my replica, which decides on several deliveries at once."""
    catch_up = Appender.catch_up

    async def by_name(self: Appender) -> None:
        try:
            await catch_up(self)
        except appender.Fenced:
            found = self.head.claim
            if found is None or found.by != self.by:
                raise

    @contextlib.asynccontextmanager
    async def all_at_once(_self: OneAtATime, _key: Key) -> AsyncGenerator[None]:
        yield

    return swapped((Appender, "catch_up", by_name), (OneAtATime, "session", all_at_once))


def three_deliveries_at_most() -> Applied:
    redeliver = MemoryServer.redeliver

    def limited(self: MemoryServer, seq: int) -> None:
        if (found := self._in_flight.get(seq)) and found.count >= 3:
            del self._in_flight[seq]
            return
        redeliver(self, seq)

    return swapped((MemoryServer, "redeliver", limited))


def ack_under_a_foreign_claim() -> Applied:
    """A handler that sees the open claim of another trigger acks, instead of NAKing until its input is taken."""
    nak = MemoryDelivery.nak

    async def early(self: MemoryDelivery, delay: float = 0.0) -> None:
        await (self.ack() if delay == dispatch.FOREIGN_CLAIM_NAK_DELAY_S else nak(self, delay))

    return swapped((MemoryDelivery, "nak", early))


def nak_without_a_delay() -> Applied:
    """A delivery whose session is claimed by another trigger comes again at once, and again."""
    return swapped(
        (dispatch, "FOREIGN_CLAIM_NAK_DELAY_S", 0.0),
        (further_deliveries, "NAK_DELAY_S", 0.0),
    )


def never_take_over_a_standing_claim() -> Applied:
    return swapped((dispatch, "CLAIM_STALE_US", 10**18))


def never_count_takeovers() -> Applied:
    return swapped((dispatch, "TAKEOVER_LIMIT", 10**9))


def cancel_before_the_turn_is_closed() -> Applied:
    """Rule 4 at the limit: calls are cancelled first, though the append that closes them may still be refused.

    The limit is lowered, so that turns are closed often.
    """
    close_turn = dispatch.Dispatcher._close_turn

    async def hasty(self: dispatch.Dispatcher, delivery: Delivery, last: Stored, inbox: str) -> None:
        hands = HandClient(self.replica.bus, delivery.key)
        await tool_calls.ToolCalls(hands, hold=0).cancel_all(last.commit.head)
        await close_turn(self, delivery, last, inbox)

    lowered = (dispatch, "TAKEOVER_LIMIT", 1), (invariants, "TAKEOVER_LIMIT", 1)
    return swapped(*lowered, (dispatch.Dispatcher, "_close_turn", hasty))


def close_without_parking() -> Applied:
    """Inputs that a closing commit takes unread are not kept."""

    async def nothing(_bus: Any, _delivery: Delivery, _last: Stored, _inbox: str, *, now: int) -> int:
        return 0

    return swapped((dispatch, "park", nothing))


def read_before_the_claim() -> Applied:
    """Bodies are read before the claim also on later deliveries, so a body that kills is never counted."""
    read_session = dispatch.Dispatcher.read_session

    class First:
        def __init__(self, inner: Delivery) -> None:
            self.key, self.seq, self.count = inner.key, inner.seq, 1

    async def reading(self: dispatch.Dispatcher, delivery: Delivery, watch: Any, *, leader: bool) -> Any:
        return await read_session(self, First(delivery), watch, leader=leader)  # type: ignore[arg-type]

    return swapped((dispatch.Dispatcher, "read_session", reading))


def arrivals_believed_whole() -> Applied:
    """Rule 5 by ear: what was heard counts as all that waits, though one before it was not heard."""

    def believed(heard: list[PendingInput], taken: Taken) -> list[PendingInput]:
        return sorted({w.seq: w for w in heard if w.above(taken)}.values(), key=lambda w: w.seq)

    return swapped((known_inputs, "contiguous_from", believed), (inbox_watch, "contiguous_from", believed))


def head_without_the_trigger_check() -> Applied:
    """Rule 2 without its second half: what is taken is acked, though it is the trigger of the open claim."""
    head = MemoryLog.head

    async def looking(self: MemoryLog, key: Any, *, leader: bool = False) -> Stored | None:
        stored, delivery = await head(self, key, leader=leader), DELIVERY.get()
        claim = stored.commit.head.claim if stored else None
        taken = stored.commit.head.taken if stored else Taken()
        if stored and claim and delivery and claim.trigger == delivery.seq <= taken.of(delivery.source):
            hidden = replace(stored.commit.head, claim=None)
            return replace(stored, commit=replace(stored.commit, head=hidden))
        return stored

    return swapped((MemoryLog, "head", looking))


def inbox_not_read_up_to_the_trigger() -> Applied:
    """Rule 4 without "at least up to m": a lagging replica of the inbox is believed, and m counted as taken."""
    waiting, whole = MemoryInbox.waiting, claim.ingest

    def lagging(self: MemoryInbox, key: Any, above: Taken = NOTHING_TAKEN, *, upto: int = 0) -> Any:
        return waiting(self, key, above)

    def as_taken(head: Head, config: ev.SessionConfig, inputs: Any, taken: Taken, *, new_id: NewId) -> ingest.Ingested:
        took = whole(head, config, inputs, taken, new_id=new_id)
        delivery = DELIVERY.get()
        return replace(took, taken=took.taken.upto(delivery.source, delivery.seq)) if delivery else took

    return swapped((MemoryInbox, "waiting", lagging), (claim, "ingest", as_taken))


def let_go_before_the_trigger_is_taken() -> Applied:
    """Rule 8: the claim may be let go after the first of several commits; all up to its trigger counts as taken."""
    whole = intake.batches

    async def first(*args: Any, **given: Any) -> AsyncGenerator[Batch]:
        async with aclosing(whole(*args, **given)) as found:
            yield await anext(found)

    async def nothing(_self: intake.Intake, _wanted: Any = None) -> bool:
        return False

    return swapped((intake, "batches", first), (intake.Intake, "waits", nothing))


def nak_without_a_ping() -> Applied:
    """Every replica is taken for dead."""

    async def absent(_self: ReplicaWatch, _replica: str) -> bool:
        return True

    return swapped((ReplicaWatch, "is_absent", absent))
