"""What a delivery leads to: an ack, a wait, or a claim and the session's owner (rules 1 to 4). One call a delivery."""

import asyncio
from collections.abc import Callable

import structlog

from holdfast.bus import events as ev
from holdfast.bus.api import Bus, Delivery
from holdfast.bus.commits import Commit, InboxPosition, Stored, commit
from holdfast.bus.errors import Conflict, Unavailable
from holdfast.bus.head import Claim, Head, advance
from holdfast.bus.ids import Key, new_id
from holdfast.bus.inputs import PendingInput
from holdfast.harness.conversation.snapshot import load_contexts
from holdfast.harness.models import Model
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.tools.hand_client import HandClient
from holdfast.harness.tools.tool_calls import ToolCalls
from holdfast.harness.turn.decide import error
from holdfast.harness.turn.idle import idle
from holdfast.harness.turn.inbox_watch import InboxWatch
from holdfast.harness.turn.ingest import ingest
from holdfast.harness.turn.runner import Fenced, HandOver, TurnRunner, begin
from holdfast.process.faults import point

TAKEOVERS = 3
"""Takeovers of one trigger without progress before the turn is closed with an error (rule 4)."""

STALE = 15 * 60 * 1_000_000
"""Microseconds that a foreign claim may stand still before it is taken over (rule 3)."""

NOT_YET = 1.0
"""Seconds before a delivery without a log is tried again (rule 1)."""

CONFIGS = 64
"""Configurations kept in memory, the oldest is dropped first: a session in use need not read its own again."""

FOREIGN = 1000
"""Sessions of others that are remembered, the oldest is forgotten first."""

UNHURRIED = 0.005
"""Seconds before an input of a session that is driven here is acknowledged: what follows from it goes first."""

LATER = 10.0
"""Seconds before a delivery is tried again whose session another claim drives (rule 3)."""

log = structlog.get_logger()


class Dispatcher:
    """Handles deliveries of one cell's inbox; holds the owners that run in this process."""

    def __init__(self, bus: Bus, model: Model, settings: HarnessSettings, *, name: str, now: Callable[[], int]) -> None:
        self._bus = bus
        self._model = model
        self._settings = settings
        self._name = name
        self._now = now
        self._owners: dict[Key, TurnRunner] = {}
        self._configs: dict[tuple[Key, int], ev.SessionConfig] = {}
        self._foreign: dict[Key, None] = {}
        """Sessions that another replica was last seen to drive: most of their inputs are not for us."""
        self.draining = asyncio.Event()

    def __len__(self) -> int:
        return len(self._owners)

    async def handle(self, delivery: Delivery) -> None:
        """See the rules. Returning without an ack leaves the message to be delivered again."""
        owner = self._owners.get(delivery.key)
        if owner is not None and await owner.has_taken(delivery.seq):
            await asyncio.sleep(UNHURRIED)
            await delivery.ack(sure=False)
            return
        arrivals, owner = InboxWatch(), None
        try:
            owner = await self._decide(delivery, arrivals)
        finally:
            if owner is None:
                await arrivals.close()
        if owner is not None:
            await self._drive(owner, delivery)

    async def _decide(self, delivery: Delivery, arrivals: InboxWatch) -> TurnRunner | None:
        """Rules 1 to 4 in their order; None: the delivery is answered, or left."""
        key, seq = delivery.key, delivery.seq
        leader = delivery.count > 1
        while True:
            inbox = await self._bus.inbox.stream_epoch(key.cell)
            last, waiting = await self._see(delivery, arrivals, leader=leader)
            if last is None:
                await delivery.nak(NOT_YET)
                return None
            head = last.commit.head
            if seq <= head.taken_in(inbox) and not (head.claim and head.claim.trigger == seq):
                await delivery.ack()
                return None
            if self._is_foreign(key, head.claim, seq) and not await self._stands_still(key, last, leader=leader):
                await delivery.nak(LATER)
                return None
            point("harness.before_claim")
            try:
                return await self._claim(delivery, last, inbox, arrivals, waiting)
            except Conflict:
                leader = True
            except Unavailable:
                return None

    async def _see(
        self, delivery: Delivery, arrivals: InboxWatch, *, leader: bool
    ) -> tuple[Stored | None, list[PendingInput]]:
        """The last commit, and at the same time what waits: a claim takes it at once.

        Nothing is read that was delivered before: it may kill its reader. Heard first, then looked at, on one
        connection: nothing falls between the two.
        """
        key = delivery.key
        if key in self._foreign and not leader:
            last = await self._bus.log.head(key)
            if last is None or self._is_foreign(key, last.commit.head.claim, delivery.seq):
                return last, []
        await arrivals.open(self._bus, key)
        if delivery.count > 1:
            return await self._bus.log.head(key, leader=leader), []
        last, waiting = await asyncio.gather(
            self._bus.log.head(key, leader=leader), self._bus.inbox.pending(key, 0, upto=delivery.seq)
        )
        return last, waiting

    def _is_foreign(self, key: Key, claim: Claim | None, seq: int) -> bool:
        """Whether another trigger has the session; remembered, because what follows will be as well."""
        self._foreign.pop(key, None)
        if claim is None or claim.trigger == seq:
            return False
        self._foreign[key] = None
        if len(self._foreign) > FOREIGN:
            del self._foreign[next(iter(self._foreign))]
        return True

    async def _stands_still(self, key: Key, last: Stored, *, leader: bool) -> bool:
        """Rule 3: nothing was appended for so long that its owner must be gone."""
        if self._now() - last.commit.head.updated <= STALE:
            return False
        fresh = last if leader else await self._bus.log.head(key, leader=True)
        return fresh is not None and fresh.seq == last.seq

    async def _claim(
        self, delivery: Delivery, last: Stored, inbox: str, arrivals: InboxWatch, waiting: list[PendingInput]
    ) -> TurnRunner | None:
        """Append the claim and return its owner; None when the turn was closed instead, and acknowledged.

        Raises Conflict, Unavailable.
        """
        key, seq, head = delivery.key, delivery.seq, last.commit.head
        mine = head.claim is not None and head.claim.trigger == seq
        failures = head.claim.failures + 1 if head.claim and mine else 0
        if failures >= TAKEOVERS:
            config = await self._config(key, last)
            await ToolCalls(HandClient(self._bus, key), hold=0).cancel_all(head)
            await self._bus.log.append(key, self._closing(last, config, inbox, seq), last.seq)
            log.warning("turn closed after repeated takeovers", session=key.session, trigger=seq)
            await delivery.ack()
            return None
        await arrivals.open(self._bus, key)  # it is not yet when a foreign claim is taken over
        claim = Claim(id=new_id("clm"), by=self._name, trigger=seq, failures=failures)
        waiting = [w for w in waiting if w.seq > head.taken_in(inbox)]
        loading = asyncio.create_task(load_contexts(self._bus, key, last))
        try:
            config = await self._config(key, last)
            took = ingest(head, config, waiting)
            taken = InboxPosition(inbox, max(took.seq, head.taken_in(inbox)), took.ids)
            span = self._begin(advance(head, took.events, self._now()), waiting)
            events = [*took.events, span] if span else took.events
            own = commit(last, events, by=self._name, new_id=new_id, now=self._now(), claim=claim, taken=taken)
            stored = Stored(await self._bus.log.append(key, own, last.seq), own)
            point("harness.claimed")
            contexts = await loading
        except BaseException:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            raise
        contexts.fold(stored)
        return TurnRunner(
            self._bus,
            self._model,
            self._settings,
            key=key,
            inbox=inbox,
            claim=claim,
            config=config,
            last=stored,
            contexts=contexts,
            arrivals=arrivals,
            span=span,
            looked=delivery.count == 1,
            name=self._name,
            now=self._now,
            draining=self.draining,
        )

    def _begin(self, after: Head, waiting: list[PendingInput]) -> ev.ModelRequestStart | None:
        if not waiting:
            return None
        size = sum(len(w.data) for w in waiting)
        return begin(after, now=self._now(), fresh=size, limits=self._settings.limits())

    async def _drive(self, owner: TurnRunner, delivery: Delivery) -> None:
        self._owners[delivery.key] = owner
        try:
            try:
                await owner.run()
                point("harness.released")
            finally:
                if self._owners.get(delivery.key) is owner:
                    del self._owners[delivery.key]
                owner.leave()
            await delivery.ack()
            await owner.look_once_more()
        except Fenced:
            log.info("claim lost", session=delivery.key.session)
        except Unavailable:
            log.warning("the bus does not answer; the session is left to another", session=delivery.key.session)
        except HandOver:
            await delivery.nak()
        finally:
            await owner.close()

    async def _config(self, key: Key, last: Stored) -> ev.SessionConfig:
        """The valid configuration of the session: in the commit that the head names."""
        at = last.commit.head.config or last.seq
        if (known := self._configs.get((key, at))) is not None:
            return known
        stored = last if at == last.seq else await self._bus.log.get(key, at)
        events = stored.commit.events if stored else []
        config = next((e for e in events if isinstance(e, ev.SessionConfig)), None)
        if config is None and stored is last:  # large ones travel as a blob, which `head` does not fetch
            fetched = await self._bus.log.get(key, at)
            config = next(
                (e for e in (fetched.commit.events if fetched else []) if isinstance(e, ev.SessionConfig)), None
            )
        if config is None:
            raise Unavailable(f"the configuration of {key.session} cannot be read")
        self._configs[key, at] = config
        if len(self._configs) > CONFIGS:
            del self._configs[next(iter(self._configs))]
        return config

    def _closing(self, last: Stored, config: ev.SessionConfig, inbox: str, seq: int) -> Commit:
        """Rule 4 at the limit: the inputs are taken unread, the turn ends with an error, the claim is gone."""
        head: Head = last.commit.head
        text = "The turn was given up: every harness that worked on it stopped before it got anywhere."
        stop = ev.StopReason("retries_exhausted")
        events = idle(head, config, stop, now=self._now(), error=error("unknown_error", text, "exhausted"), close=True)
        taken = InboxPosition(inbox, max(seq, head.taken_in(inbox)))
        return commit(last, events, by=self._name, new_id=new_id, now=self._now(), claim=None, taken=taken)
