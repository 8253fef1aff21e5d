"""The open tool calls of a session and the replies of their workers (rules 12, 13, 15 and 18)."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from holdfast.bus import events as ev
from holdfast.bus.commands import Provisioned
from holdfast.bus.commits import Stored
from holdfast.bus.errors import BusError, Newer, NoResponders, Unavailable
from holdfast.bus.head import Call, Hand, Head, is_unbound
from holdfast.bus.ids import new_id
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.tools.hand_client import HandClient, WorkerReply
from holdfast.harness.tools.tool_results import error_result, hand_lost
from holdfast.process.backoff import Backoff
from holdfast.process.retry import Attempts

log = structlog.get_logger()

ACCEPTED_CALL_POLL_INTERVAL_S: Final = 1.0
"""Interval at which an accepted call is sent again: the reply tells whether its worker still lives."""

SILENT_WORKER_RETRY_DELAY_S: Final = 0.2
"""Delay before calls that no worker has accepted are sent again."""

SILENT_WORKER_BACKOFF: Final = Backoff(first_s=0.1, longest_s=0.2)
"""Pauses before another request without a reply is repeated."""

NO_WORKER_TIMEOUT_S: Final = 15.0
"""Time to wait for any worker before calls get an error result; longer than a worker takes to restart."""

PROVISION_DEADLINE_S: Final = 60.0
"""Time that the creation of a hand may take."""

DECLINED_TIMEOUT_S: Final = 15.0
"""Time for which a hand is requested again while all workers decline: they are full, or the one with the files is away.
Then the calls get error results, so that the model can say so or do something else."""

DECLINED_RETRY_DELAY_S: Final = 1.0
"""Delay before workers that declined are asked again; each time all of them are asked."""

PROBE_REUSE_S: Final = 1.0
"""Time for which the result of a probe is reused."""

PROBE_ATTEMPTS: Final = 5
"""Probes of a silent worker: a request is lost together with a worker that dies while it handles it."""

GONE_GENERATION_TTL_S: Final = 4.0
"""Time for which a generation reported gone is not accepted again; longer than a dead worker's registration lives."""

CANCEL_DEADLINE_S: Final = 5.0
"""Time to wait for a silent worker to cancel; longer than its registration lives."""

REFUSAL_LIMIT: Final = 10
"""Refusals of an open call before it gets an error result."""


class ToolCalls:
    """Sends calls to their hands and remembers the replies. Nothing of it must survive this process."""

    def __init__(self, hands: HandClient, *, hold: float) -> None:
        self._hands = hands
        self._hold = hold
        """Seconds to stay with the session while its tools run."""
        self._accepted_at: dict[str, float] = {}
        """When each call was last accepted, in seconds of the event loop's clock."""
        self._refusals: dict[str, int] = {}
        self._waiting_since = 0.0
        self._gone: set[str] = set()
        """Generations that a worker reported gone."""
        self._probes: dict[str, tuple[float, asyncio.Task[WorkerReply]]] = {}
        """The running or last probe of a generation, and when it began."""

    def all_accepted(self, ready: Sequence[Call]) -> bool:
        """True if a worker has accepted every one of these calls."""
        return all(c.id in self._accepted_at for c in ready)

    def hold_is_over(self) -> bool:
        """True if the tools have run for longer than `hold`: the session is to be released."""
        return asyncio.get_running_loop().time() - self._waiting_since > self._hold

    def poll_interval(self, ready: Sequence[Call]) -> float:
        """Seconds to wait for results before `send` is called again."""
        return ACCEPTED_CALL_POLL_INTERVAL_S if self.all_accepted(ready) else SILENT_WORKER_RETRY_DELAY_S

    async def provide(self, last: Stored, thread: str) -> list[ev.Event]:
        """Rule 12: the events that bind the unbound calls of the thread to their hands, or their error results.

        Each hand of an unbound call is provided for, all at the same time.
        """
        names = dict.fromkeys(c.hand for c in last.commit.head.calls if is_unbound(c) and c.thread == thread)
        provided = await asyncio.gather(*(self._provide(last, name) for name in names))
        return [event for events in provided for event in events]

    async def _provide(self, last: Stored, name: str) -> list[ev.Event]:
        head = last.commit.head
        hand = head.hands.get(name)
        if hand is not None:
            return await self._lost_at_rest(head, name) or [_bound(name, hand)]
        provisioned = await self._provision(name, last.seq)
        if provisioned is not None and not provisioned.error:
            return [_bound(name, Hand(provisioned.generation, provisioned.worker, provisioned.kept))]
        if provisioned is None:
            text = f"{name}_unavailable: no {name} worker answers. Is the {name} service running?"
        else:
            text = f"{provisioned.error}: {provisioned.message}"
        unbound = [c for c in head.calls if is_unbound(c) and c.hand == name]
        return [error_result(c.id, text, thread=c.thread, new_id=new_id) for c in unbound]

    async def _provision(self, name: str, log_seq: int) -> Provisioned | None:
        """The hand of that name, held by some worker, or the error of the workers; None if none replies in time."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        async for _ in Attempts(SILENT_WORKER_BACKOFF):
            timeout = NO_WORKER_TIMEOUT_S
            try:
                provisioned = await self._hands.provision(name, log_seq=log_seq)
                if provisioned.declined:
                    if loop.time() - began_at > DECLINED_TIMEOUT_S:
                        log.warning("no worker took the session", hand=name, cause=provisioned.error)
                        return provisioned
                    await asyncio.sleep(DECLINED_RETRY_DELAY_S)
                    continue
                if provisioned.generation not in self._gone or loop.time() - began_at > GONE_GENERATION_TTL_S:
                    return provisioned
            except (Unavailable, Newer):  # another worker may be faster, or of this version
                timeout = PROVISION_DEADLINE_S
            except NoResponders:
                pass
            except BusError:
                return None
            if loop.time() - began_at > timeout:
                break
        return None

    async def lost_at_rest(self, head: Head) -> list[ev.Event]:
        """The events of hands that were lost while no call was bound to them; none if all may still live.

        Called before calls are bound to the hands in the head (rule 12). A silent worker may be slow: calls are bound
        to it and sent until it replies or is gone.
        """
        lost = await asyncio.gather(*(self._lost_at_rest(head, name) for name in head.hands))
        return [event for events in lost for event in events]

    async def _lost_at_rest(self, head: Head, name: str) -> list[ev.Event]:
        hand = head.hands[name]
        if any(c.generation == hand.generation for c in head.calls):
            return []
        self._start_probe(hand)
        _, probe = self._probes.pop(hand.generation)
        if await probe != "gone":
            return []
        self._gone.add(hand.generation)
        return hand_lost(head, name, hand.generation, "it ended while the session was at rest", [], new_id=new_id)

    def probe_ahead(self, head: Head) -> None:
        """Start to probe the hands while the model still writes the call."""
        present = {hand.generation for hand in head.hands.values()}
        self._probes = {generation: probe for generation, probe in self._probes.items() if generation in present}
        for hand in head.hands.values():
            self._start_probe(hand)

    def _start_probe(self, hand: Hand) -> None:
        now = asyncio.get_running_loop().time()
        began_at, _ = self._probes.get(hand.generation, (now - PROBE_REUSE_S, None))
        if now - began_at >= PROBE_REUSE_S:
            self._probes[hand.generation] = (now, asyncio.create_task(self._probe(hand)))

    async def _probe(self, hand: Hand) -> WorkerReply:
        for _ in range(PROBE_ATTEMPTS):
            reply = await self._hands.probe(hand)
            if reply != "silent":
                return reply
        return "silent"

    async def send(self, last: Stored, ready: Sequence[Call], contexts: Contexts) -> list[ev.Event]:
        """Send every call that is due. Returns the events that follow from the replies; none if all went well."""
        head = last.commit.head
        now = asyncio.get_running_loop().time()
        if strays := _strays(head, ready):
            first, reason = strays[0], "it is not the session's any more"
            lost = [c for c in strays if c.generation == first.generation]
            return hand_lost(head, first.hand, first.generation, reason, lost, new_id=new_id)
        interval = ACCEPTED_CALL_POLL_INTERVAL_S
        due = [c for c in ready if now - self._accepted_at.get(c.id, -interval) >= interval]
        if not any(c.id in self._accepted_at for c in ready):
            self._waiting_since = now
        replies = await asyncio.gather(*(self._execute(last, call, contexts) for call in due))
        for call, reply in zip(due, replies, strict=True):
            if reply == "gone":
                self._gone.add(call.generation)
                bound = [c for c in head.calls if c.generation == call.generation]
                reason = "its worker does not have it any more"
                return hand_lost(head, call.hand, call.generation, reason, bound, new_id=new_id)
            if reply == "accepted":
                self._accepted_at[call.id] = now
            elif reply == "refused":
                self._refusals[call.id] = self._refusals.get(call.id, 0) + 1
                if self._refusals[call.id] >= REFUSAL_LIMIT:
                    text = f"The {call.hand} refuses to run this call."
                    return [error_result(call.id, text, thread=call.thread, new_id=new_id)]
        return []

    async def _execute(self, last: Stored, call: Call, contexts: Contexts) -> WorkerReply:
        given = contexts.thread(call.thread).tool_input(call.id)
        return await self._hands.execute(last.commit.head.hands[call.hand], call, given, log_seq=last.seq)

    async def cancel_all(self, head: Head, thread: str | None = None) -> None:
        """Rule 18: return when no open call can start any more, or its worker was silent for CANCEL_DEADLINE_S.

        Only calls of that thread; of all threads if it is None.
        """
        calls = [c for c in head.calls if thread is None or c.thread == thread]
        running = [(hand, c.id) for hand in head.hands.values() for c in calls if c.generation == hand.generation]
        await asyncio.gather(*(self._cancel(hand, call_id) for hand, call_id in running))

    async def _cancel(self, hand: Hand, call_id: str) -> None:
        async for _ in Attempts(SILENT_WORKER_BACKOFF, timeout_s=CANCEL_DEADLINE_S):
            if await self._hands.cancel(hand, call_id) != "silent":
                return


def _strays(head: Head, ready: Sequence[Call]) -> list[Call]:
    """The calls whose generation is not that of their hand any more."""
    found: list[Call] = []
    for call in ready:
        hand = head.hands.get(call.hand)
        if hand is None or hand.generation != call.generation:
            found.append(call)
    return found


def _bound(name: str, hand: Hand) -> ev.Event:
    return ev.HandBound(
        id=new_id("sevt"), hand=name, generation=hand.generation, worker=hand.worker, kept=hand.kept
    )  # fmt: skip
