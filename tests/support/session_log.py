"""Write events into the log of a session through the bus, as a harness does."""

import time
from collections.abc import Sequence

from msgspec import UNSET

from holdfast.bus import events as ev
from holdfast.bus.api import Bus
from holdfast.bus.commands import Delta
from holdfast.bus.commits import InboxPosition, Stored, commit
from holdfast.bus.errors import Conflict
from holdfast.bus.head import Claim
from holdfast.bus.ids import Key, new_id
from holdfast.bus.inputs import ClientInput, taken_after


class SessionLog:
    """The log of one session."""

    def __init__(self, bus: Bus, session_id: str, *, tenant: str = "default") -> None:
        self.bus = bus
        self.key = Key(tenant, session_id)

    async def write(
        self, *events: ev.Event, claim: Claim | object | None = UNSET, taken: InboxPosition | None = None
    ) -> Stored:
        """Append the events as one commit after the last one."""
        while True:
            last = await self.bus.log.head(self.key, leader=True)
            assert last
            now = time.time_ns() // 1000
            new = commit(last, events, by="test", new_id=new_id, now=now, claim=claim, taken=taken)  # type: ignore[arg-type]
            try:
                return Stored(await self.bus.log.append(self.key, new, last.seq), new)
            except Conflict:
                continue

    async def takes(self, count: int) -> list[str]:
        """Take the first inputs of clients that wait in the inbox. Returns the ids of their events."""
        head = await self.bus.log.head(self.key, leader=True)
        assert head
        epoch = await self.bus.inbox.stream_epoch(self.key.cell)
        before = head.commit.head.taken_in(epoch)
        inputs = (await self.bus.inbox.pending(self.key, before))[:count]
        assert len(inputs) == count
        events = [event for one in inputs if isinstance(one.input, ClientInput) for event in one.input.events]
        ids = tuple(one.input.id for one in inputs if one.input)
        await self.write(*events, taken=InboxPosition(epoch, taken_after(before, inputs), ids))
        return [event.id for event in events]

    async def running(self, *, claim: bool = True) -> Stored:
        """The session becomes running; with `claim` under the claim of a harness that does not exist."""
        thread = ev.ThreadStatusRunning(id=new_id("sevt"), agent_name="a", session_thread_id="sthr_1")
        open_claim = Claim(id=new_id("clm"), by="test", trigger=1) if claim else UNSET
        return await self.write(ev.SessionStatusRunning(id=new_id("sevt")), thread, claim=open_claim)

    async def idle(self, *waiting_for: str) -> Stored:
        """The session becomes idle, at the end of its turn or because these calls wait for the client."""
        stop = ev.StopReason("requires_action", list(waiting_for)) if waiting_for else ev.StopReason("end_turn")
        thread = ev.ThreadStatusIdle(id=new_id("sevt"), agent_name="a", session_thread_id="sthr_1", stop_reason=stop)
        return await self.write(thread, ev.SessionStatusIdle(id=new_id("sevt"), stop_reason=stop), claim=None)

    async def asks(self, *, custom: int = 0, ask: int = 0) -> list[str]:
        """Append calls that wait for the client and make the session idle. Returns their ids."""
        calls: list[ev.Event] = [ev.AgentCustomToolUse(id=new_id("sevt"), name="mine", input={}) for _ in range(custom)]
        calls += [
            ev.AgentToolUse(id=new_id("sevt"), name="bash", input={"command": "ls"}, evaluated_permission="ask")
            for _ in range(ask)
        ]
        await self.running()
        await self.write(*calls)
        ids = [call.id for call in calls]
        await self.idle(*ids)
        return ids

    async def says(self, text: str, *, event_id: str = "") -> str:
        """Append a message of the agent. Returns its id."""
        event_id = event_id or new_id("sevt")
        await self.write(ev.AgentMessage(id=event_id, content=[{"type": "text", "text": text}]))
        return event_id


def delta_start(event_id: str, kind: str = "agent.message", *, request: str = "") -> Delta:
    return Delta(event_id, kind, start=True, request=request)


def delta_piece(event_id: str, text: str) -> Delta:
    return Delta(event_id, "agent.message", 0, text)


def delta_text(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas)
