"""Mutations of the real code, each without one rule of the protocol: the search must find a violation for each.

Names are those of the models in which the rules were found: "final minus" of the claims, C1 to C10 of the calls.
Nothing of this is a switch in the product; each mutation replaces one function for as long as it lasts.
"""

import asyncio
import contextlib
from collections.abc import Callable, Generator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus import head as heads
from holdfast.bus import status
from holdfast.bus.api import Delivery
from holdfast.bus.commands import Answer, Execute
from holdfast.bus.commits import Stored, commit
from holdfast.bus.errors import BusError, Unavailable
from holdfast.bus.head import Claim, Head
from holdfast.bus.ids import NewId, new_id
from holdfast.bus.inputs import NOTHING_TAKEN, PendingInput, Taken
from holdfast.harness.tools import tool_calls
from holdfast.harness.tools.hand_client import HandClient
from holdfast.harness.turn import appender, claim, dispatch, further_deliveries, idle, inbox_watch, ingest, intake
from holdfast.harness.turn.appender import Appender, ThreadRun
from holdfast.harness.turn.runner import TurnRunner
from holdfast.process.retry import retrying
from holdfast.sandbox import execution, lease, placement, provisioning, registration, results, sandboxes
from holdfast.sandbox.placement import CallRecord
from holdfast.session.jobs.replica_watch import ReplicaWatch
from holdfast.testing.memory.consumer import DELIVERY, MemoryDelivery
from holdfast.testing.memory.inbox import MemoryInbox
from holdfast.testing.memory.kv import MemoryKeyValue
from holdfast.testing.memory.log import MemoryLog
from holdfast.testing.memory.server import MemoryServer
from tests.simulation import invariants
from tests.simulation.actors import Driver
from tests.simulation.fault_injector import NO_FAULTS, Odds
from tests.simulation.plan import Plan

Applied = contextlib.AbstractContextManager[None]


class Mutation(Struct, frozen=True):
    """A rule to remove. `odds` and `plan` select the schedules to search; `finds`: prefixes of the violation."""

    name: str
    apply: Callable[[], Applied]
    finds: tuple[str, ...]
    odds: Odds
    plan: Plan


@contextlib.contextmanager
def swapped(*changes: tuple[Any, str, Any]) -> Generator[None]:
    """Replace attributes for a while."""
    before = [(place, name, getattr(place, name)) for place, name, _ in changes]
    for place, name, value in changes:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


# --- claims ------------------------------------------------------------------------------------------------------


def reclaim_with_the_old_trigger() -> Applied:
    """After the release something waits: claim again with the trigger that is in hand, instead of a nudge."""
    drive = dispatch.Dispatcher.drive

    async def again(self: dispatch.Dispatcher, runner: TurnRunner, delivery: Delivery) -> None:
        own = runner.appender

        async def claim_again() -> None:
            if await runner.intake.pending():
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
    """A claim is mine if it carries the name of my replica."""
    catch_up = Appender.catch_up

    async def by_name(self: Appender) -> None:
        try:
            await catch_up(self)
        except appender.Fenced:
            found = self.head.claim
            if found is None or found.by != self.by:
                raise

    return swapped((Appender, "catch_up", by_name))


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

    async def nothing(_self: dispatch.Dispatcher, _delivery: Delivery, _last: Stored, _inbox: str) -> int:
        return 0

    return swapped((dispatch.Dispatcher, "park", nothing))


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

    return swapped((intake, "contiguous_from", believed), (inbox_watch, "contiguous_from", believed))


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
    waiting, whole = MemoryInbox.pending, claim.ingest

    async def lagging(self: MemoryInbox, key: Any, above: Taken = NOTHING_TAKEN, *, upto: int = 0) -> Any:
        return await waiting(self, key, above)

    def as_taken(head: Head, config: ev.SessionConfig, inputs: Any, taken: Taken, *, new_id: NewId) -> ingest.Ingested:
        took = whole(head, config, inputs, taken, new_id=new_id)
        delivery = DELIVERY.get()
        return replace(took, taken=took.taken.upto(delivery.source, delivery.seq)) if delivery else took

    return swapped((MemoryInbox, "pending", lagging), (claim, "ingest", as_taken))


# --- calls -------------------------------------------------------------------------------------------------------


def c1_not_bound_to_a_generation() -> Applied:
    """When the sandbox is lost its calls go to the next one."""
    apply = heads._apply

    def loose(head: Head, event: ev.Event, at: int) -> Head:
        after = apply(head, event, at)
        if isinstance(event, ev.HandLost):
            unbound = [replace(c, generation="") if c.generation == event.generation else c for c in after.calls]
            return replace(after, calls=tuple(unbound))
        return after

    def only_the_hand(
        _head: Head, hand: str, generation: str, reason: str, _calls: Any, *, new_id: NewId
    ) -> list[ev.Event]:
        return [ev.HandLost(id=new_id("sevt"), hand=hand, generation=generation, reason=reason)]

    return swapped((heads, "_apply", loose), (tool_calls, "hand_lost", only_the_hand))


def c2_accepted_before_the_record() -> Applied:
    """The call runs and is accepted; its record follows."""

    async def hasty(
        self: execution.Executor, handle: sandboxes.SandboxHandle, call: sandboxes.TrackedCall, request: Execute
    ) -> Answer:
        if not await self.is_wanted(handle.key, request):
            handle.forget(request.call)
            return Answer(answer="refused")
        handle.mark_running(call)

        async def record_late() -> None:
            record = self.record_of(request)
            await asyncio.sleep(1.0)
            await retrying(lambda: self.store_record(record), on=BusError, what="late record")
            await self.run(handle, call, record, request)

        self.start(record_late())
        return Answer(answer="accepted")

    return swapped((execution.Executor, "admit", hasty))


def c3_records_expire() -> Applied:
    """Records live no longer than the registration beside which they were stored."""
    put = MemoryKeyValue.put

    async def mortal(self: MemoryKeyValue, bucket: str, key: str, value: bytes, *, ttl: float = 0.0) -> int:
        return await put(self, bucket, key, value, ttl=3.0 if key.startswith("c.") else ttl)

    return swapped((MemoryKeyValue, "put", mortal))


def c4_record_deleted_first() -> Applied:
    deliver, delete_record = results.deliver, results.delete_record

    async def early(bus: Any, record: CallRecord, outcome: Any, *, is_lost: bool) -> None:
        await delete_record(bus, record)
        await deliver(bus, record, outcome, is_lost=is_lost)

    return swapped((results, "deliver", early))


def c5_results_taken_blindly() -> Applied:
    def blind(_head: Head, result: Any, *, new_id: NewId) -> list[ev.Event]:
        return [ev.AgentToolResult(id=new_id("sevt"), tool_use_id=result.id, content=result.content)]

    return swapped((ingest, "result_events", blind))


def c6_finished_calls_forgotten() -> Applied:
    finish = sandboxes.SandboxHandle.finish

    def forgetful(self: sandboxes.SandboxHandle, call_id: str, now: float) -> None:
        finish(self, call_id, now)
        self.forget(call_id)

    return swapped((sandboxes.SandboxHandle, "finish", forgetful))


def c7_released_before_it_was_accepted() -> Applied:
    return swapped((tool_calls.ToolCalls, "all_accepted", lambda _self, _ready: True))


def c8_no_cancel_on_interrupt() -> Applied:
    async def nothing(_self: tool_calls.ToolCalls, _head: Head, _thread: str | None = None) -> None:
        return

    return swapped((tool_calls.ToolCalls, "cancel_all", nothing))


def c9_a_lease_nobody_watches() -> Applied:
    """The worker goes on when its registration has expired."""
    register = registration.Registration.register

    async def careless(self: registration.Registration) -> None:
        with contextlib.suppress(BusError):
            await register(self)

    return swapped(
        (lease, "END_SHARE", 1e6), (lease, "START_SHARE", 1e6), (Driver, "keep_until", lambda _self, _deadline: None),
        (registration.Registration, "register", careless),
    )  # fmt: skip


def c10_nobody_posts_lost_results() -> Applied:
    async def nobody(_bus: Any, _cell: str, _myself: str, _unreadable: set[str]) -> int:
        return 0

    return swapped((results, "close_lost_calls", nobody))


# --- hands -------------------------------------------------------------------------------------------------------


def h1_a_loss_closes_the_calls_of_all_hands() -> Applied:
    whole = tool_calls.hand_lost

    def wide(head: Head, hand: str, generation: str, reason: str, _calls: Any, *, new_id: NewId) -> list[ev.Event]:
        return whole(head, hand, generation, reason, [c for c in head.calls if c.generation], new_id=new_id)

    return swapped((tool_calls, "hand_lost", wide))


def h2_bound_whatever_the_hand() -> Applied:
    """A generation is bound to every unbound call, whichever hand the call names."""
    apply = heads._apply

    def careless(head: Head, event: ev.Event, at: int) -> Head:
        after = apply(head, event, at)
        if isinstance(event, ev.HandBound):
            calls = [replace(c, generation=event.generation) if heads.is_unbound(c) else c for c in after.calls]
            return replace(after, calls=tuple(calls))
        return after

    return swapped((heads, "_apply", careless))


def h3_the_host_is_forgotten() -> Applied:
    """An emptied placement does not say any more where the files are."""
    return swapped((placement.Placement, "emptied", lambda _self: placement.Placement()))


def h4_a_foreign_host_starts_empty() -> Applied:
    return swapped((provisioning.Provisioner, "_is_elsewhere", lambda _self, _placed: False))


# --- threads -----------------------------------------------------------------------------------------------------


def t1_released_while_a_thread_has_work() -> Applied:
    """The first thread that comes to rest gives the claim up."""
    return swapped((TurnRunner, "_may_release", lambda _self, _head, own="": True))


def t2_the_session_is_idle_with_each_thread() -> Applied:
    """The session is shown as idle as soon as one of its threads is."""
    whole = status.idle

    def eager(head: Head, config: ev.SessionConfig, stop: ev.StopReason, **kw: Any) -> list[ev.Event]:
        events = whole(head, config, stop, **kw)
        shown = [e for e in events if isinstance(e, ev.SessionStatusIdle)]
        return events if shown else [*events, ev.SessionStatusIdle(id=new_id("sevt"), stop_reason=stop)]

    return swapped((status, "idle", eager))


def t3_a_step_is_decided_again_after_any_append() -> Applied:
    """A step is valid only after the very head that it was decided on, also the end of a model request."""
    append = ThreadRun.append

    async def strict(self: ThreadRun, events: Any, *, request: Any = None, **kw: Any) -> bool:
        return await append(self, events, **kw)

    return swapped((ThreadRun, "append", strict), (appender, "view", lambda head, _thread: head))


def t4_an_interrupt_closes_the_calls_of_all_threads() -> Applied:
    close_calls = idle.close_calls

    def wide(head: Head, *, thread: str, new_id: NewId) -> list[ev.Event]:
        threads = dict.fromkeys([thread, *(c.thread for c in head.calls)])
        return [event for name in threads for event in close_calls(head, thread=name, new_id=new_id)]

    return swapped((idle, "close_calls", wide))


# --- notices of death ----------------------------------------------------------------------------------------------


def nak_without_a_ping() -> Applied:
    """Every replica is taken for dead."""

    async def absent(_self: ReplicaWatch, _replica: str) -> bool:
        return True

    return swapped((ReplicaWatch, "is_absent", absent))


_DEAF = Odds(lost=0.4, slow=0.2)
_BUSY = Odds(crash=0.02, unanswered=0.05, late=0.05, slow=0.1, again=0.4, lag=0.2)
_RACES = Odds(again=0.6, slow=0.15, lag=0.3, freeze=0.02)
_HANDS = Odds(crash=0.02, twice=0.2, late=0.05, unanswered=0.05, lost=0.05, sandbox_dies=0.2, freeze=0.01)
_DYING = Odds(crash=0.04, slow=0.1)
_TOO_LATE = Odds(late=0.3, lag=0.9)
_FROZEN = Odds(freeze=0.12, again=0.6)
_REPEATED = Odds(twice=0.5, late=0.1, unanswered=0.1, lag=0.4, slow=0.1)

_MANY = Plan(replicas=2, workers=1, messages=3, updates=1)
_ALONE = Plan(replicas=1, workers=1, messages=3, updates=1)
_CHATTY = Plan(replicas=1, workers=1, messages=8, calls=8)
_POISON = Plan(messages=2, poison=True)
_DEADLY = Plan(messages=1, deadly=True)
_VANISH = Plan(messages=3, vanish=True)
_TOOLS = Plan(replicas=2, workers=2, messages=2, calls=6)
_GONE = Plan(replicas=2, workers=2, messages=2, calls=6, hold=0.0)
_LEFT = Plan(replicas=2, workers=2, messages=2, calls=6, hold=0.0, steady=("harness",))
_STOPPED = Plan(replicas=2, workers=1, messages=6, calls=12, impatient=8)
_LONG = Plan(replicas=2, workers=1, messages=2, calls=6, hold=0.0, steady=("worker",))
_TWO = Plan(replicas=2, workers=1, clocks=1, messages=2, calls=8)
_THREADS = Plan(replicas=1, workers=1, messages=6, calls=4, child=True)
_TWO_STOPPED = Plan(replicas=1, workers=1, messages=6, calls=12, impatient=8, child=True)
_APART = Plan(replicas=2, workers=2, hosts=2, messages=3, calls=6)

MUTATIONS = [
    Mutation("re-claim with the old trigger", reclaim_with_the_old_trigger, ("2:", "4:"), _RACES, _MANY),
    Mutation("take only the trigger", take_only_the_trigger, ("1:",), _RACES, _MANY),
    Mutation("look for the own commit id", no_look_for_the_own_commit, ("2:",), _BUSY, _MANY),
    Mutation("claim by commit, not by name", claims_known_by_name, ("2:",), _RACES, _ALONE),
    Mutation("unlimited deliveries", three_deliveries_at_most, ("4:",), _BUSY, _MANY),
    Mutation("NAK until taken", ack_under_a_foreign_claim, ("1:", "4:"), _BUSY, _MANY),
    Mutation("a NAK has a delay", nak_without_a_delay, ("4:",), _BUSY, _MANY),
    Mutation("taking over a claim that stands still", never_take_over_a_standing_claim, ("4:",), _BUSY, _VANISH),
    Mutation("counting takeovers", never_count_takeovers, ("4:",), NO_FAULTS, _POISON),
    Mutation("a turn is closed before its calls", cancel_before_the_turn_is_closed, ("4:",), _RACES, _LONG),
    Mutation("parking what is taken unread", close_without_parking, ("1:",), NO_FAULTS, _DEADLY),
    Mutation("claim before reading", read_before_the_claim, ("4:",), NO_FAULTS, _DEADLY),
    Mutation("arrivals name what came before them", arrivals_believed_whole, ("1:", "4:"), _DEAF, _CHATTY),
    Mutation("no ack of the open claim's trigger", head_without_the_trigger_check, ("4:",), _RACES, _MANY),
    Mutation("the inbox is read up to the trigger", inbox_not_read_up_to_the_trigger, ("1:",), _RACES, _MANY),
    Mutation("a ping before a NAK for another", nak_without_a_ping, ("live:",), NO_FAULTS, _MANY),
    Mutation("C1 call bound to a generation", c1_not_bound_to_a_generation, ("3:",), _HANDS, _TOOLS),
    Mutation("C2 record stored before it is accepted", c2_accepted_before_the_record, ("4:",), _DYING, _LEFT),
    Mutation("C3 records outlive the registration", c3_records_expire, ("4:",), _DYING, _LEFT),
    Mutation("C4 result posted before the record is deleted", c4_record_deleted_first, ("4:",), _DYING, _LEFT),
    Mutation("C5 results only of open calls", c5_results_taken_blindly, ("3:",), _HANDS, _TOOLS),
    Mutation("C6 worker remembers finished calls", c6_finished_calls_forgotten, ("3:",), _REPEATED, _TOOLS),
    Mutation("C7 released when the worker has accepted", c7_released_before_it_was_accepted, ("4:",), _HANDS, _GONE),
    Mutation("C8 cancel before an interrupt closes the call", c8_no_cancel_on_interrupt, ("3:",), _TOO_LATE, _STOPPED),
    Mutation("C9 the worker watches its lease", c9_a_lease_nobody_watches, ("3:",), _HANDS, _TOOLS),
    Mutation(
        "H1 a loss closes the calls of its hand only", h1_a_loss_closes_the_calls_of_all_hands, ("3:",), _HANDS, _TWO
    ),
    Mutation("H2 a hand is bound to its own calls only", h2_bound_whatever_the_hand, ("3:",), _HANDS, _TWO),
    Mutation("H3 the host is remembered", h3_the_host_is_forgotten, ("7:",), _HANDS, _APART),
    Mutation("H4 a foreign host declines", h4_a_foreign_host_starts_empty, ("7:",), _HANDS, _APART),
    Mutation(
        "T1 the claim is kept while a thread has work",
        t1_released_while_a_thread_has_work,
        ("4:",),
        NO_FAULTS,
        _THREADS,
    ),
    Mutation(
        "T2 the session is idle with its last thread",
        t2_the_session_is_idle_with_each_thread,
        ("status:",),
        NO_FAULTS,
        _THREADS,
    ),
    Mutation(
        "T3 another thread's append keeps a request open",
        t3_a_step_is_decided_again_after_any_append,
        ("live:",),
        NO_FAULTS,
        _THREADS,
    ),
    Mutation(
        "T4 an interrupt closes the calls of its thread only",
        t4_an_interrupt_closes_the_calls_of_all_threads,
        ("3:",),
        NO_FAULTS,
        _TWO_STOPPED,
    ),
    Mutation("C10 somebody posts lost results", c10_nobody_posts_lost_results, ("4:",), _DYING, _LEFT),
]
