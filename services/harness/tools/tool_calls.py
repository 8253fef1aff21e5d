"""The open tool calls of a session and what their workers said of them (rules 12, 13, 15 and 18)."""

import asyncio
from collections.abc import Sequence

from holdfast.bus import events as ev
from holdfast.bus.commands import Provisioned
from holdfast.bus.errors import BusError, NoResponders, Unavailable
from holdfast.bus.head import Call, Head, Sandbox
from holdfast.bus.ids import new_id
from holdfast.harness.conversation.context import Context
from holdfast.harness.tools.hand_client import HandClient, Said
from holdfast.harness.turn.ingest import failed, lost

AGAIN = 1.0
"""Seconds after which an accepted call is asked for again: the answer tells whether its worker still lives."""

SILENT = 0.2
"""Seconds before a worker that did not answer is asked again."""

NO_WORKER = 15.0
"""Seconds to wait for any sandbox worker before calls are answered with an error: longer than a restart."""

MAKING = 60.0
"""Seconds a sandbox may take to be made."""

FORESEEN = 1.0
"""Seconds for which it counts that a sandbox was asked for ahead of time."""

PROBES = 5
"""Times a silent worker is asked whether a sandbox lives: a request is lost with a worker that dies on it."""

DEAD = 4.0
"""Seconds in which a generation known to be gone is not taken again: longer than a dead worker's registration lives."""

CANCEL = 5.0
"""Seconds to wait for a silent worker to cancel; longer than its registration lives."""

REFUSALS = 10
"""Times an open call may be refused before it is closed."""


class ToolCalls:
    """Sends calls to their sandbox and remembers the answers; holds nothing that the log does not."""

    def __init__(self, hands: HandClient, *, hold: float) -> None:
        self._hands = hands
        self._hold = hold
        self._accepted: dict[str, float] = {}
        self._refused: dict[str, int] = {}
        self._since = 0.0
        self._gone: set[str] = set()
        self._probing: dict[str, tuple[float, asyncio.Task[Said]]] = {}
        """The generation whose worker is being asked ahead of time whether it lives, and since when."""

    def all_accepted(self, ready: Sequence[Call]) -> bool:
        return all(c.id in self._accepted for c in ready)

    def held_long_enough(self) -> bool:
        """Whether the session should be let go while its tools run."""
        return asyncio.get_running_loop().time() - self._since > self._hold

    def pause(self, ready: Sequence[Call]) -> float:
        """Seconds to wait for results before the next look."""
        return AGAIN if self.all_accepted(ready) else SILENT

    async def provide(self, head: Head, config: ev.SessionConfig) -> list[ev.Event]:
        """Rule 12: the event that names the sandbox, or the errors of the calls that cannot have one."""
        if head.sandbox is not None:
            if gone := await self.gone(head):
                return gone
            return [ev.SandboxBound(id=new_id("sevt"), generation=head.sandbox.generation, worker=head.sandbox.worker)]
        unbound = [c.id for c in head.calls if c.state == "ready" and not c.generation]
        made = await self._made(config)
        if made is None:
            text = "sandbox_unavailable: no sandbox worker answers. Is the sandbox service running?"
            return [failed(c, text) for c in unbound]
        if made.error:
            return [failed(c, f"{made.error}: {made.message}") for c in unbound]
        return [ev.SandboxBound(id=new_id("sevt"), generation=made.generation, worker=made.worker)]

    async def _made(self, config: ev.SessionConfig) -> Provisioned | None:
        """The sandbox that a worker gives; None when none answers for too long."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            patience = NO_WORKER
            try:
                made = await self._hands.provision(config.environment)
                if made.generation not in self._gone or loop.time() - began > DEAD:
                    return made
            except Unavailable:
                patience = MAKING
            except NoResponders:
                pass
            except BusError:
                return None
            if loop.time() - began > patience:
                return None
            await asyncio.sleep(SILENT)

    async def gone(self, head: Head) -> list[ev.Event]:
        """Before calls are bound to the sandbox in the head: that it is lost, if so. No call of it is open then."""
        sandbox = head.sandbox
        if sandbox is None or any(c.generation == sandbox.generation for c in head.calls):
            return []
        self.foresee(head)
        _, probing = self._probing.pop(sandbox.generation)
        said = await probing
        if said != "gone":  # a silent one may be slow: then the call is bound to it, and asked for until it is gone
            return []
        self._gone.add(sandbox.generation)
        return lost(sandbox.generation, "it ended while the session was at rest", [])

    def foresee(self, head: Head) -> None:
        """A call is to come: begin to ask whether the sandbox lives, while the model still writes the call."""
        sandbox, now = head.sandbox, asyncio.get_running_loop().time()
        if sandbox is None:
            return
        since, _ = self._probing.get(sandbox.generation, (now - FORESEEN, None))
        if now - since >= FORESEEN:
            self._probing = {sandbox.generation: (now, asyncio.create_task(self._probe(sandbox)))}

    async def _probe(self, sandbox: Sandbox) -> Said:
        for _ in range(PROBES):
            said = await self._hands.probe(sandbox)
            if said != "silent":
                return said
        return "silent"

    async def send(self, head: Head, ready: Sequence[Call], context: Context) -> list[ev.Event]:
        """Ask for every call that is due; the events that follow from the answers, none when all is well."""
        now = asyncio.get_running_loop().time()
        sandbox = head.sandbox
        stray = [c for c in ready if sandbox is None or c.generation != sandbox.generation]
        if stray or sandbox is None:
            return lost(stray[0].generation, "its sandbox is not the session's any more", stray)
        due = [c for c in ready if now - self._accepted.get(c.id, -AGAIN) >= AGAIN]
        if not any(c.id in self._accepted for c in ready):
            self._since = now
        answers = await asyncio.gather(
            *(self._hands.execute(sandbox, c.id, c.name, _input(context, c.id)) for c in due)
        )
        for call, said in zip(due, answers, strict=True):
            if said == "gone":
                self._gone.add(sandbox.generation)
                mine = [c for c in head.calls if c.generation == sandbox.generation]
                return lost(sandbox.generation, "its worker does not have it any more", mine)
            if said == "accepted":
                self._accepted[call.id] = now
            elif said == "refused":
                self._refused[call.id] = self._refused.get(call.id, 0) + 1
                if self._refused[call.id] >= REFUSALS:
                    return [failed(call.id, "The sandbox refuses to run this call.")]
        return []

    async def cancel_all(self, head: Head) -> None:
        """Rule 18: returns when no open call can start any more, or its worker has been silent for too long."""
        sandbox = head.sandbox
        if sandbox is None:
            return
        running = [c for c in head.calls if c.generation == sandbox.generation]
        await asyncio.gather(*(self._cancel(sandbox, c.id) for c in running))

    async def _cancel(self, sandbox: Sandbox, call: str) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + CANCEL
        while await self._hands.cancel(sandbox, call) == "silent" and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(SILENT)


def _input(context: Context, call: str) -> dict[str, object]:
    for item in reversed(context.items):
        if item.kind == "assistant":
            for block in item.blocks:
                if block.get("type") == "tool_use" and block.get("id") == call:
                    return block["input"]
    return {}
