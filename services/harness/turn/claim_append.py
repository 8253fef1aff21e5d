"""Appends the claim of a session, sends the model request that it starts, and makes the runner (rules 4 and 6)."""

import asyncio

from holdfast.bus.api import Delivery
from holdfast.bus.commits import Stored
from holdfast.bus.ids import Key
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.conversation.snapshot import load_contexts
from holdfast.harness.turn.appender import ClaimedSession
from holdfast.harness.turn.claim import Trigger, claim_commit
from holdfast.harness.turn.commit_metrics import note_commit
from holdfast.harness.turn.inbox_batches import Batch
from holdfast.harness.turn.inbox_watch import InboxWatch
from holdfast.harness.turn.replica import Replica
from holdfast.harness.turn.runner import TurnRunner
from holdfast.harness.turn.session_configs import SessionConfigs
from holdfast.harness.turn.started_request import RequestsBeside
from holdfast.harness.turn.turn_span import begin_turn
from holdfast.process.faults import point


class ClaimAppend:
    """Claims sessions for one replica."""

    def __init__(self, replica: Replica, configs: SessionConfigs) -> None:
        self._replica = replica
        self._configs = configs

    async def claim(
        self,
        delivery: Delivery,
        last: Stored,
        *,
        inbox: str,
        watch: InboxWatch,
        batch: Batch,
        contexts: Contexts | None,
    ) -> TurnRunner:
        """Append the claim after `last`, with the inputs of `batch`. Raises Conflict, Unavailable.

        `contexts` are folded up to `last`, or up to an earlier commit: then the rest is read meanwhile; None: all is.
        """
        key, replica = delivery.key, self._replica
        await watch.open(replica.bus, key)  # not open yet if the claim of a foreign session is taken over
        config = await self._configs.get(key, last)
        made = claim_commit(
            last,
            config,
            batch.inputs,
            inbox=inbox,
            trigger=trigger_of(delivery),
            limits=replica.limits(config),
            writer=replica.writer(),
            starts=batch.is_last,
        )
        appending = asyncio.create_task(replica.bus.log.append(key, made.commit, last.seq))
        try:
            async with RequestsBeside(replica) as beside:
                if contexts is None or contexts.seq != last.seq:
                    contexts = await self._load(key, last, contexts, appending)
                if contexts.seq == last.seq:  # else it was read with the claim, or with what follows it
                    beside.send(made.requests, made.commit.events, config=config, contexts=contexts)
                stored = Stored(await appending, made.commit)
                point("harness.claimed")
                begin_turn(last.commit.head, made.claim)
                note_commit(key, last.commit.head, made.commit)
                contexts.fold(stored)
                if not beside.requests:
                    beside.send(made.requests, [], config=config, contexts=contexts)
        finally:
            appending.cancel()
            await asyncio.gather(appending, return_exceptions=True)
        session = ClaimedSession(key=key, inbox=inbox, claim=made.claim, config=config, last=stored, contexts=contexts)
        return TurnRunner(
            replica, session, watch, requests=beside.requests, inbox_known=bool(batch.inputs) and batch.is_last
        )

    async def _load(self, key: Key, last: Stored, earlier: Contexts | None, appending: "asyncio.Task[int]") -> Contexts:
        """Read the contexts, unless the append fails before; then raise its error."""
        loading = asyncio.create_task(load_contexts(self._replica.bus, key, last, earlier))
        try:
            await asyncio.wait([loading, appending], return_when=asyncio.FIRST_COMPLETED)
            if appending.done():
                appending.result()
            return await loading
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)


def trigger_of(delivery: Delivery) -> Trigger:
    """What the claim records of the delivery."""
    return Trigger(delivery.seq, delivery.source, delivery.number)
