"""Handles the deliveries of an inbox: each leads to an ack, a NAK, or a claim and a runner (rules 1 to 4 and 10)."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from holdfast.bus.api import Bus, Delivery
from holdfast.bus.commits import Stored
from holdfast.bus.errors import BusError, Conflict, Damaged, Newer, Unavailable
from holdfast.bus.head import Claim
from holdfast.bus.ids import Key
from holdfast.bus.times import CLAIM_STALE_US
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.models.interface import Model
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.tools.hand_client import HandClient
from holdfast.harness.tools.tool_calls import ToolCalls
from holdfast.harness.turn.appender import Fenced
from holdfast.harness.turn.claim import TAKEOVER_LIMIT, closing_commit, failures_of, is_done
from holdfast.harness.turn.claim_append import ClaimAppend, trigger_of
from holdfast.harness.turn.commit_metrics import note_given_up
from holdfast.harness.turn.failed_deliveries import FailedDeliveries
from holdfast.harness.turn.inbox_batches import BATCH_BYTES, Batch, first_batch
from holdfast.harness.turn.inbox_watch import InboxWatch
from holdfast.harness.turn.kept_sessions import KeptSession, KeptSessions
from holdfast.harness.turn.left_to_newer import NEWER_NAK_DELAY_S, LeftToNewer
from holdfast.harness.turn.one_at_a_time import OneAtATime
from holdfast.harness.turn.parking import park
from holdfast.harness.turn.replica import DroppedRequests, HandOver, Replica
from holdfast.harness.turn.runner import TurnRunner
from holdfast.harness.turn.session_configs import SessionConfigs
from holdfast.harness.turn.tenant_shares import TenantShares
from holdfast.harness.turn.warm_replicas import WarmReplicas
from holdfast.process.faults import point
from holdfast.process.model_catalogue import load_catalogue
from holdfast.process.model_facts import ModelCatalogue

NO_LOG_NAK_DELAY_S: Final = 1.0
"""Delay of a delivery whose session has no log yet (rule 1)."""

FOREIGN_CLAIM_NAK_DELAY_S: Final = 10.0
"""Delay of a delivery whose session is claimed by another trigger (rule 3)."""

DAMAGED_NAK_DELAY_S: Final = 30.0
"""Delay of a delivery whose session cannot be read: only an operator can help, and the log must stay readable."""

FOREIGN_SESSIONS_LIMIT: Final = 1000
"""Sessions of other replicas that are remembered, the oldest is forgotten first."""

log = structlog.get_logger()


class Dispatcher:
    """Handles the deliveries of one cell and holds the runners of this process."""

    def __init__(
        self,
        bus: Bus,
        model: Model,
        settings: HarnessSettings,
        *,
        name: str,
        now: Callable[[], int],
        catalogue: ModelCatalogue | None = None,
        note_newer: Callable[[str], None] = lambda _: None,
        note_dropped: Callable[[str], None] = lambda _: None,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        """`now` is in microseconds since 1970. `catalogue` None: the packaged one. `batch_bytes`: see `Replica`.

        `note_newer` gets a sentence when work is left to a newer version, `note_dropped` when a request was dropped.
        """
        self.draining = asyncio.Event()
        """Set it when the process is to stop: runners finish or hand over."""
        self._bus = bus
        self._now = now
        self.warm = WarmReplicas(bus, name, self._forget)
        self.replica = Replica(
            bus=bus,
            model=model,
            settings=settings,
            catalogue=catalogue or load_catalogue(),
            name=name,
            now=now,
            draining=self.draining,
            on_release=self._announce,
            dropped=DroppedRequests(note_dropped),
            batch_bytes=batch_bytes,
        )
        self.deciding = OneAtATime()
        self._configs = SessionConfigs(bus)
        self._claims = ClaimAppend(self.replica, self._configs)
        self.kept = KeptSessions()
        self.failed = FailedDeliveries()
        self.shares = TenantShares(settings.tenant_sessions)
        self.left_to_newer = LeftToNewer(note_newer)
        self._runners: dict[Key, TurnRunner] = {}
        self._foreign: dict[Key, None] = {}
        """Sessions that another replica was last seen to drive: most of their inputs are not for this process."""

    def __len__(self) -> int:
        """The number of sessions that are driven."""
        return len(self._runners)

    async def handle(self, delivery: Delivery) -> None:
        """Handle one delivery by the rules. After a return without ack or NAK the message is delivered again.

        Raises only BusErrors that are retryable. After any other exception it is delivered again, later and later.
        """
        try:
            if delivery.newer:
                raise Newer("the input")  # noqa: TRY301  as any part of its session that is newer
            await self.shares.serve(delivery, self._handle, is_driven=delivery.key in self._runners)
        except Newer as exc:
            self.left_to_newer.add(delivery.key, exc)
            await delivery.nak(NEWER_NAK_DELAY_S)
        except Damaged as exc:
            log.error("session.damaged", session=delivery.key.session, cause=str(exc))  # noqa: TRY400  no fault of ours
            await delivery.nak(DAMAGED_NAK_DELAY_S)
        except Exception as exc:
            if isinstance(exc, BusError) and exc.retryable:
                raise
            await self.failed.failed(delivery)
        else:
            self.failed.handled(delivery)

    async def _announce(self, key: Key) -> None:
        """Say that this replica knows the session, before its release can be seen: the next input may come at once."""
        if not self.draining.is_set():
            await self.warm.announce(key)

    async def _forget(self, key: Key) -> None:
        """Another replica has driven the session: what is kept of it is old."""
        if (kept := self.kept.pop(key)) is not None:
            await kept.watch.close()

    async def _handle(self, delivery: Delivery) -> None:
        is_ours = delivery.key in self._runners or delivery.key in self.kept
        if not is_ours and await self.warm.pass_on(delivery, load=len(self)):
            return
        runner: TurnRunner | None = None
        while runner is None:
            if (driven := self._runners.get(delivery.key)) is not None:
                if delivery.seq != driven.appender.claim.trigger and not driven.appender.released:
                    await driven.deliveries.add(delivery)
                    return
                while await driven.appender.folded():  # a claim by its own trigger would take the session from itself
                    pass
            async with self.deciding.session(delivery.key):
                if delivery.key in self._runners:  # another delivery has claimed the session meanwhile
                    continue
                known, earlier = await self._known(delivery)
                watch = known.watch if known else InboxWatch()
                try:
                    runner = await self._decide(delivery, watch, known, earlier)
                finally:
                    if runner is None:
                        await watch.close()
                if runner is None:
                    return
                self._runners[delivery.key] = runner
        await self.drive(runner, delivery)

    async def _known(self, delivery: Delivery) -> tuple[KeptSession | None, Contexts | None]:
        """What is kept of the session of a first delivery, if it may be claimed by that (rule 4). It is forgotten.

        Also its contexts at the release: the log goes on behind them, also if another replica has driven it since.
        """
        kept = self.kept.pop(delivery.key) if delivery.count == 1 else None
        if kept is None:
            return None, None
        inbox = await self._bus.inbox.stream_epoch(delivery.key.cell)
        earlier = kept.contexts if kept.inbox == inbox and not kept.watch.gap.is_set() else None
        if kept.batch(delivery.seq, inbox):
            return kept, earlier
        await kept.watch.close()
        return None, earlier

    async def _decide(
        self, delivery: Delivery, watch: InboxWatch, known: KeptSession | None, earlier: Contexts | None
    ) -> TurnRunner | None:
        """Rules 1 to 4 in their order. None: the delivery was answered, or is left to be delivered again.

        `known` is what the process knows of the session without reading. If the log refuses the claim, it is read.
        `earlier`: the contexts after a commit of before, if the process has them.
        """
        key, seq = delivery.key, delivery.seq
        leader = delivery.count > 1
        while True:
            inbox = await self._bus.inbox.stream_epoch(key.cell)
            if known is not None:
                last = known.last
                batch = Batch([*known.batch(seq, inbox)], is_last=True)
                known = None
            else:
                last, batch = await self.read_session(delivery, watch, leader=leader)
            if last is None:
                await delivery.nak(NO_LOG_NAK_DELAY_S)
                return None
            head = last.commit.head
            if is_done(head, inbox, seq, delivery.source):
                await delivery.ack()
                return None
            if self._is_foreign(key, head.claim, seq) and not await self._is_stale(key, last, leader=leader):
                await delivery.nak(FOREIGN_CLAIM_NAK_DELAY_S)
                return None
            point("harness.before_claim")
            try:
                if failures_of(head, seq) >= TAKEOVER_LIMIT:
                    await self._close_turn(delivery, last, inbox)
                    return None
                return await self._claims.claim(delivery, last, inbox=inbox, watch=watch, batch=batch, contexts=earlier)
            except Conflict:
                leader = True
            except Unavailable:
                return None

    async def read_session(self, delivery: Delivery, watch: InboxWatch, *, leader: bool) -> tuple[Stored | None, Batch]:
        """The last commit and, for a first delivery, the first inputs that wait: the claim takes them at once.

        Inputs of a repeated delivery are read after the claim (rule 4): one of them may kill its reader. The watch is
        opened before the inbox is read, on the same connection, so that no input is missed between the two.
        """
        key = delivery.key
        if delivery.count > 1:
            return await self._bus.log.head(key, leader=leader), Batch([], is_last=True)
        if key in self._foreign and not leader:
            last = await self._bus.log.head(key)
            if last is None or self._is_foreign(key, last.commit.head.claim, delivery.seq):
                return last, Batch([], is_last=True)
        await watch.open(self._bus, key)
        reading = first_batch(self._bus.inbox, key, upto=delivery.seq, limit_bytes=self.replica.batch_bytes)
        return await asyncio.gather(self._bus.log.head(key, leader=leader), reading)

    def _is_foreign(self, key: Key, claim: Claim | None, seq: int) -> bool:
        """True if another trigger has claimed the session; remembered, because its next inputs will be foreign too."""
        self._foreign.pop(key, None)
        if claim is None or claim.trigger == seq:
            return False
        self._foreign[key] = None
        if len(self._foreign) > FOREIGN_SESSIONS_LIMIT:
            del self._foreign[next(iter(self._foreign))]
        return True

    async def _is_stale(self, key: Key, last: Stored, *, leader: bool) -> bool:
        """Rule 3: nothing was appended for so long that the replica with the claim must be gone."""
        if self._now() - last.commit.head.updated <= CLAIM_STALE_US:
            return False
        fresh = last if leader else await self._bus.log.head(key, leader=True)
        return fresh is not None and fresh.seq == last.seq

    async def _close_turn(self, delivery: Delivery, last: Stored, inbox: str) -> None:
        """Rule 4 at TAKEOVER_LIMIT: end the turn with an error and ack. Raises Conflict, Unavailable.

        The calls are cancelled after the append. If it is refused the turn goes on under another owner, who would wait
        for ever for a call that its worker refuses.
        """
        key = delivery.key
        config = await self._configs.get(key, last)
        parked = await park(self._bus, delivery, last, inbox, now=self._now())
        closing = closing_commit(
            last, config, inbox=inbox, trigger=trigger_of(delivery), parked=parked, writer=self.replica.writer()
        )
        await self._bus.log.append(key, closing, last.seq)
        note_given_up(key, last.commit.head, closing, trigger=delivery.seq, parked=parked)
        await ToolCalls(HandClient(self._bus, key), hold=0).cancel_all(last.commit.head)
        await delivery.ack()

    def keep(self, runner: TurnRunner) -> list[InboxWatch]:
        """Keep what the runner knew at its release (rule 1). Returns the watches of sessions forgotten for it."""
        head = runner.appender.head
        if self.draining.is_set() or head.archived or head.deleted or runner.appender.key in self._runners:
            return []
        return self.kept.add(runner.appender.key, runner.known())

    async def drive(self, runner: TurnRunner, delivery: Delivery) -> None:
        """Run the runner to its end, then ack (rule 10); without a release the message is delivered again."""
        key = delivery.key
        self._runners[key] = runner
        try:
            try:
                await runner.run()
                point("harness.released")
            finally:
                if self._runners.get(key) is runner:
                    del self._runners[key]
                runner.appender.give_up()
            for forgotten in self.keep(runner):
                await forgotten.close()
            await delivery.ack()
            await runner.renudge()
        except Fenced:
            log.info("claim.lost", session=key.session)
        except Unavailable:
            log.warning("session.left_to_another", session=key.session, cause="the bus does not answer")
        except HandOver:
            await delivery.nak()
        except Newer:
            await runner.appender.hand_back()
            raise
        finally:
            await runner.close()
