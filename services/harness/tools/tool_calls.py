"""The open tool calls of a session and the replies of their workers (rules 12, 13, 15 and 18)."""

import asyncio
from collections.abc import Sequence
from typing import Final

from holdfast.bus import events as ev
from holdfast.bus.commands import Provisioned
from holdfast.bus.errors import BusError, Newer, NoResponders, Unavailable
from holdfast.bus.head import Call, Head, Sandbox
from holdfast.bus.ids import new_id
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.tools.hand_client import HandClient, WorkerReply
from holdfast.harness.tools.tool_results import error_result, sandbox_lost

ACCEPTED_CALL_POLL_INTERVAL_S: Final = 1.0
"""Interval at which an accepted call is sent again: the reply tells whether its worker still lives."""

SILENT_WORKER_RETRY_DELAY_S: Final = 0.2
"""Delay before a request without a reply is repeated."""

NO_WORKER_TIMEOUT_S: Final = 15.0
"""Time to wait for any sandbox worker before calls get an error result; longer than a worker takes to restart."""

PROVISION_DEADLINE_S: Final = 60.0
"""Time that the creation of a sandbox may take."""

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
    """Sends calls to their sandbox and remembers the replies. Nothing of it must survive this process."""

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

    async def provide(self, head: Head, config: ev.SessionConfig) -> list[ev.Event]:
        """Rule 12: the event that binds the ready calls to a sandbox, or their error results if there is none."""
        if head.sandbox is not None:
            if lost := await self.lost_at_rest(head):
                return lost
            return [ev.SandboxBound(id=new_id("sevt"), generation=head.sandbox.generation, worker=head.sandbox.worker)]
        provisioned = await self._provision(config)
        if provisioned is not None and not provisioned.error:
            return [ev.SandboxBound(id=new_id("sevt"), generation=provisioned.generation, worker=provisioned.worker)]
        if provisioned is None:
            text = "sandbox_unavailable: no sandbox worker answers. Is the sandbox service running?"
        else:
            text = f"{provisioned.error}: {provisioned.message}"
        unbound = [c for c in head.calls if c.state == "ready" and not c.generation]
        return [error_result(c.id, text, thread=c.thread, new_id=new_id) for c in unbound]

    async def _provision(self, config: ev.SessionConfig) -> Provisioned | None:
        """The sandbox of a worker; None if no worker replies in time."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        while True:
            timeout = NO_WORKER_TIMEOUT_S
            try:
                provisioned = await self._hands.provision(config.environment)
                if provisioned.generation not in self._gone or loop.time() - began_at > GONE_GENERATION_TTL_S:
                    return provisioned
            except (Unavailable, Newer):  # another worker may be faster, or of this version
                timeout = PROVISION_DEADLINE_S
            except NoResponders:
                pass
            except BusError:
                return None
            if loop.time() - began_at > timeout:
                return None
            await asyncio.sleep(SILENT_WORKER_RETRY_DELAY_S)

    async def lost_at_rest(self, head: Head) -> list[ev.Event]:
        """The events of a sandbox that was lost while no call was bound to it; none if it may still live.

        Called before calls are bound to the sandbox in the head (rule 12). A silent worker may be slow: calls are bound
        to it and sent until it replies or is gone.
        """
        sandbox = head.sandbox
        if sandbox is None or any(c.generation == sandbox.generation for c in head.calls):
            return []
        self.probe_ahead(head)
        _, probe = self._probes.pop(sandbox.generation)
        if await probe != "gone":
            return []
        self._gone.add(sandbox.generation)
        return sandbox_lost(sandbox.generation, "it ended while the session was at rest", [], new_id=new_id)

    def probe_ahead(self, head: Head) -> None:
        """Start to probe the sandbox while the model still writes the call."""
        sandbox, now = head.sandbox, asyncio.get_running_loop().time()
        if sandbox is None:
            return
        began_at, _ = self._probes.get(sandbox.generation, (now - PROBE_REUSE_S, None))
        if now - began_at >= PROBE_REUSE_S:
            self._probes = {sandbox.generation: (now, asyncio.create_task(self._probe(sandbox)))}

    async def _probe(self, sandbox: Sandbox) -> WorkerReply:
        for _ in range(PROBE_ATTEMPTS):
            reply = await self._hands.probe(sandbox)
            if reply != "silent":
                return reply
        return "silent"

    async def send(self, head: Head, ready: Sequence[Call], contexts: Contexts) -> list[ev.Event]:
        """Send every call that is due. Returns the events that follow from the replies; none if all went well."""
        now = asyncio.get_running_loop().time()
        sandbox = head.sandbox
        stray = [c for c in ready if sandbox is None or c.generation != sandbox.generation]
        if stray or sandbox is None:
            reason = "its sandbox is not the session's any more"
            return sandbox_lost(stray[0].generation, reason, stray, new_id=new_id)
        interval = ACCEPTED_CALL_POLL_INTERVAL_S
        due = [c for c in ready if now - self._accepted_at.get(c.id, -interval) >= interval]
        if not any(c.id in self._accepted_at for c in ready):
            self._waiting_since = now
        inputs = [contexts.thread(c.thread).tool_input(c.id) for c in due]
        replies = await asyncio.gather(
            *(self._hands.execute(sandbox, c.id, c.name, given) for c, given in zip(due, inputs, strict=True))
        )
        for call, reply in zip(due, replies, strict=True):
            if reply == "gone":
                self._gone.add(sandbox.generation)
                bound = [c for c in head.calls if c.generation == sandbox.generation]
                return sandbox_lost(sandbox.generation, "its worker does not have it any more", bound, new_id=new_id)
            if reply == "accepted":
                self._accepted_at[call.id] = now
            elif reply == "refused":
                self._refusals[call.id] = self._refusals.get(call.id, 0) + 1
                if self._refusals[call.id] >= REFUSAL_LIMIT:
                    text = "The sandbox refuses to run this call."
                    return [error_result(call.id, text, thread=call.thread, new_id=new_id)]
        return []

    async def cancel_all(self, head: Head) -> None:
        """Rule 18: return when no open call can start any more, or its worker was silent for CANCEL_DEADLINE_S."""
        sandbox = head.sandbox
        if sandbox is None:
            return
        running = [c for c in head.calls if c.generation == sandbox.generation]
        await asyncio.gather(*(self._cancel(sandbox, c.id) for c in running))

    async def _cancel(self, sandbox: Sandbox, call_id: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CANCEL_DEADLINE_S
        while await self._hands.cancel(sandbox, call_id) == "silent" and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(SILENT_WORKER_RETRY_DELAY_S)
