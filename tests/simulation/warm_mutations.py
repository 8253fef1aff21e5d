"""Mutations of the rules 1, 4 and 6: claims by what is kept, and model requests beside the append of their start."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from holdfast.bus.errors import Conflict
from holdfast.bus.inputs import PendingInput, taken_after
from holdfast.harness.models.deltas import Deltas
from holdfast.harness.models.interface import BlockStart, Piece, TextDelta
from holdfast.harness.turn.appender import ThreadRun
from holdfast.harness.turn.claim_append import ClaimAppend
from holdfast.harness.turn.inbox_batches import readable
from holdfast.harness.turn.intake import Intake
from holdfast.harness.turn.kept_sessions import KeptSession
from holdfast.harness.turn.runner import TurnRunner
from holdfast.harness.turn.started_request import RequestsBeside, StartedRequest
from holdfast.harness.turn.thread_turn import ThreadTurn
from holdfast.testing.memory.consumer import DELIVERY
from tests.simulation.swapped import Applied, swapped


def w1_claimed_without_the_gap_check() -> Applied:
    """What was heard is claimed by what is kept, though an input before it was not heard."""

    def blind(self: KeptSession, seq: int, inbox: str) -> Sequence[PendingInput]:
        taken = self.last.commit.head.taken_in(inbox)
        return [p for p in self.watch.heard or () if p.seq == seq and p.above(taken)][:1]

    return swapped((KeptSession, "batch", blind))


def w2_kept_over_a_refusal() -> Applied:
    """A claim that the log has refused is made again by the same knowledge."""
    claim = ClaimAppend.claim

    async def stubborn(self: ClaimAppend, *args: Any, **given: Any) -> TurnRunner:
        while True:
            try:
                return await claim(self, *args, **given)
            except Conflict:
                if given["contexts"] is None:
                    raise
                await asyncio.sleep(1.0)

    return swapped((ClaimAppend, "claim", stubborn))


def w3_deltas_before_the_acknowledgement() -> Applied:
    """What the model says is shown as it comes, whether the start of the request is stored or not."""
    send = StartedRequest._send

    async def hasty(self: StartedRequest, *args: Any) -> Piece | None:
        piece, delivery = await send(self, *args), DELIVERY.get()
        if isinstance(piece, BlockStart) and delivery is not None:
            deltas = Deltas(self._replica.bus, delivery.key, request=self.start.id)
            await deltas.add(piece)
            await deltas.add(TextDelta(piece.index, "…"))
        return piece

    return swapped((StartedRequest, "_send", hasty))


def w4_a_refused_request_is_answered() -> Applied:
    """The response of a request whose start the log has refused is appended."""
    leave, started, append = RequestsBeside.__aexit__, ThreadTurn._started, ThreadRun.append
    refused: dict[tuple[object, str], StartedRequest] = {}

    async def keep(self: RequestsBeside, failed: Any, exc: Any, at: Any) -> None:
        if isinstance(exc, Exception) and not isinstance(exc, Conflict):
            refused.update({(self._replica.dropped, t): r for t, r in self.requests.items()})
            self.requests = {}
        await leave(self, failed, exc, at)

    async def believe(self: ThreadTurn, state: Any) -> StartedRequest | None:
        found = await started(self, state)
        return found or refused.pop((self._replica.dropped, self._thread.id), None)

    async def unchecked(self: ThreadRun, events: Any, *, request: Any = None, **given: Any) -> bool:
        return await append(self, events, **given)

    return swapped(
        (RequestsBeside, "__aexit__", keep), (ThreadTurn, "_started", believe), (ThreadRun, "append", unchecked)
    )


def w5_a_refused_request_is_announced_again() -> Applied:
    """A request whose start was refused serves for the next start, though it has not seen what came between."""
    send = RequestsBeside.send
    refused: dict[tuple[object, str], StartedRequest] = {}
    leave = RequestsBeside.__aexit__

    async def keep(self: RequestsBeside, failed: Any, exc: Any, at: Any) -> None:
        if failed is not None:
            refused.update({(self._replica.dropped, t): r for t, r in self.requests.items()})
            self.requests = {}
        await leave(self, failed, exc, at)

    def again(self: RequestsBeside, starts: Any, events: Any, **given: Any) -> None:
        send(self, starts, events, **given)
        for thread, new in list(self.requests.items()):
            if old := refused.pop((self._replica.dropped, thread), None):
                old.start, self.requests[thread] = new.start, old
                self._refused.append(new)

    return swapped((RequestsBeside, "__aexit__", keep), (RequestsBeside, "send", again))


def w6_known_before_it_is_stored() -> Applied:
    """What was read counts as known although its append has failed: another thread's take goes on behind it."""

    async def hasty(self: Intake, may_start: Callable[[str], bool]) -> None:
        async with self._taking:
            own, known = self._appender, self._known
            inputs = known.heard()
            if inputs is None and not await known.all_stays():
                upto = own.claim.trigger if own.behind_trigger else 0
                inputs = [p async for p in readable(self._bus.inbox, own.key, own.taken, upto=upto)]
                known.end_read(known.begin_read())
                known._know(taken_after(own.taken, inputs))
            if inputs:
                await self._append(inputs, may_start)

    return swapped((Intake, "take", hasty))
