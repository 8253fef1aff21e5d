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
from holdfast.bus.inputs import CallResult
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.tools.hand_client import ExecuteReply, HandClient, WorkerReply
from holdfast.harness.tools.tool_results import error_result, hand_lost, text_content
from holdfast.process import failures
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

ANSWERS_TIMEOUT_S: Final = 0.5
"""Longest wait for the answers of all requests under way before those that have come are dealt with; longer than the
window in which a worker answers with a result."""

PROBE_AFTER_S: Final = 3.0
"""Seconds without a reply after which a generation is asked whether it lives before a call is bound to it."""

DECLINED_TIMEOUT_S: Final = 15.0
"""Time for which a hand is requested again while all workers decline: they are full, or the one with the files is away.
Then the calls get error results, so that the model can say so or do something else."""

INPUT_MISSING: Final = "The input of this call was not found in the conversation, so it was not run. Call it again."

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
        self._silent: set[str] = set()
        """Calls whose last request got no reply."""
        self._waiting_since = 0.0
        self._gone: set[str] = set()
        """Generations that a worker reported gone."""
        self._replied_at: dict[str, float] = {}
        """When each generation last replied, in seconds of the event loop's clock."""
        self._requests: dict[str, asyncio.Task[ExecuteReply]] = {}
        """The request under way, or its reply that has not been dealt with, by id of the call."""
        self._confirmations: set[asyncio.Task[None]] = set()
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
        if any(c.generation == hand.generation for c in head.calls) or self._replied_lately(hand):
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
            if not self._replied_lately(hand):
                self._start_probe(hand)

    def _replied_lately(self, hand: Hand) -> bool:
        now = asyncio.get_running_loop().time()
        return now - self._replied_at.get(hand.generation, now - PROBE_AFTER_S) < PROBE_AFTER_S

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

    def strays(self, head: Head, ready: Sequence[Call]) -> list[ev.Event]:
        """The loss of a generation that is not its hand's any more, with the calls that are bound to it; or nothing."""
        found = _strays(head, ready)
        if not found:
            return []
        lost = [c for c in found if c.generation == found[0].generation]
        reason = "it is not the session's any more"
        return hand_lost(head, found[0].hand, found[0].generation, reason, lost, new_id=new_id)

    def send(self, last: Stored, ready: Sequence[Call], contexts: Contexts) -> None:
        """Send every call that is due; `replies` has the answers later."""
        now, interval = asyncio.get_running_loop().time(), ACCEPTED_CALL_POLL_INTERVAL_S
        if not any(c.id in self._accepted_at for c in ready):
            self._waiting_since = now
        for call in ready:
            if call.id not in self._requests and now - self._accepted_at.get(call.id, -interval) >= interval:
                self._requests[call.id] = asyncio.create_task(self._execute(last, call, contexts))

    async def answered(self, ready: Sequence[Call], wake: asyncio.Event) -> None:
        """Return when all requests of these calls are answered, `wake` is set, or after ANSWERS_TIMEOUT_S."""
        requests = [self._requests[c.id] for c in ready if c.id in self._requests]
        if all(task.done() for task in requests):
            return
        both = asyncio.gather(*requests, return_exceptions=True)
        waking = asyncio.ensure_future(wake.wait())
        try:
            await asyncio.wait(
                [asyncio.shield(both), waking], timeout=ANSWERS_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waking.cancel()

    def under_way(self, ready: Sequence[Call]) -> bool:
        """True while a request of these calls has no answer."""
        return any(c.id in self._requests and not self._requests[c.id].done() for c in ready)

    def replies(self, head: Head, ready: Sequence[Call]) -> tuple[list[CallResult], list[ev.Event]]:
        """The results that have come in answers; if there are none, the events that follow from other answers.

        An answer that is left out because of a result is asked for again.
        """
        done = {call_id: task.result() for call_id, task in self._requests.items() if task.done()}
        self._requests = {call_id: task for call_id, task in self._requests.items() if call_id not in done}
        now, results, events = asyncio.get_running_loop().time(), list[CallResult](), list[ev.Event]()
        for call in ready:
            if call.id not in done:
                continue
            reply = done[call.id]
            if reply.reply == "silent":
                self._silent.add(call.id)
            elif call.id in self._silent:
                self._silent.discard(call.id)
                if reply.reply != "gone":  # its worker lives, so the request or its answer was lost
                    log.info("call.request_lost", call=call.id, failure=failures.message_lost("tool_request"))
            if reply.reply in ("accepted", "result"):
                self._replied_at[call.generation] = now
            if reply.reply == "accepted":
                self._accepted_at[call.id] = now
            elif reply.result is not None:
                results.append(reply.result)
            elif not events:
                events = self._bad_reply(head, call, reply.reply)
        return results, [] if results else events

    def _bad_reply(self, head: Head, call: Call, reply: WorkerReply) -> list[ev.Event]:
        """The events that follow if a worker does not have the generation, or refuses the call again and again."""
        if reply == "gone":
            self._gone.add(call.generation)
            bound = [c for c in head.calls if c.generation == call.generation]
            reason = "its worker does not have it any more"
            return hand_lost(head, call.hand, call.generation, reason, bound, new_id=new_id)
        if reply == "refused":
            self._refusals[call.id] = self._refusals.get(call.id, 0) + 1
            if self._refusals[call.id] >= REFUSAL_LIMIT:
                text = f"The {call.hand} refuses to run this call."
                return [error_result(call.id, text, thread=call.thread, new_id=new_id)]
        return []

    def confirm(self, head: Head, results: Sequence[CallResult]) -> None:
        """Tell the workers that these results are in the log. Nothing waits for it. `head` names their hands."""
        workers = {hand.generation: hand.worker for hand in head.hands.values()}
        for result in results:
            if (worker := workers.get(result.generation)) is not None:
                task = asyncio.create_task(self._hands.confirm(worker, result.id, result.generation))
                self._confirmations.add(task)
                task.add_done_callback(self._confirmations.discard)

    def close(self) -> None:
        """Wait for no answer any more."""
        for task in self._requests.values():
            task.cancel()
        self._requests = {}

    async def _execute(self, last: Stored, call: Call, contexts: Contexts) -> ExecuteReply:
        given = contexts.thread(call.thread).tool_input(call.id)
        if given is None:  # to run the call with an empty input would be another call
            missing = text_content(INPUT_MISSING)
            result = CallResult(id=call.id, generation=call.generation, content=missing, is_error=True)
            return ExecuteReply("result", result)
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
