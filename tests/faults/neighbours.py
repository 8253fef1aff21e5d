"""Neighbours: sessions with ordinary work that time their tool steps and notice when they lose their shell."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from anthropic import APIError, AsyncAnthropic
from msgspec import Struct, field

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.errors import BusError
from tests.faults.step_times import Step, steps_of
from tests.support.conversation import Conversation, text
from tests.support.invariants import check_session, journaled, read_log
from tests.support.model import Json, call, say
from tests.support.stack import Stack

TURNS: Final = 40
"""Turns of one session; then the neighbour begins another one, so that histories stay short."""

TURN_WITHIN_S: Final = 120.0
"""Seconds within which a turn ends. One whose takeovers are waited for takes a few seconds."""

PAUSE_S: Final = 0.05
"""Seconds before each answer of the model: neighbours leave most of the machine idle."""

GIVEN_UP: Final = "The turn was given up"
"""Beginning of the text with which rule 4 of PROTOCOL.md closes a turn at the limit of takeovers."""

_TURN: Final = r"{{user:turn (\d+)}}"
_KEPT: Final = "{{user:keeps ([0-9a-f]+)}}"
_NOTE: Final = "/workspace/notes/today.md"


def work() -> list[Json]:
    """What the model does in each turn. The first turn sets a variable of the shell that every turn shows."""
    steps = [
        journaled(f"t{_TURN}-first", f': "${{KEPT:=$([ {_TURN} = 0 ] && echo {_KEPT})}}"; echo "kept: $KEPT"'),
        call("write", file_path=_NOTE, content=f"turn {_TURN}: draft\n"),
        call("edit", file_path=_NOTE, old_string="draft", new_string="done"),
        {"tools": [_tool("read", file_path=_NOTE), _tool("grep", pattern="done", path="/workspace/notes")]},
        journaled(f"t{_TURN}-last", f'cat {_NOTE}; echo "kept: $KEPT"'),
    ]
    return [{**step, "ttft": PAUSE_S} for step in steps] + [say("That is all.")]


def _tool(name: str, **arguments: Any) -> Json:
    return {"name": name, "input": arguments}


class Neighbour(Struct, kw_only=True):
    """One session after the other. What is wrong is reported by `complain`, and the neighbour goes on."""

    stack: Stack
    client: AsyncAnthropic
    mark: str
    """Name of the scenario with the steps of `work`."""
    number: int
    complain: Callable[[str], None]
    deleted: list[str]
    """Ids of sessions that were checked and deleted, of everybody."""
    steps: list[Step] = field(default_factory=list)
    sessions: int = 0
    """Sessions that are over and were checked."""
    events: int = 0
    """Events in their logs."""

    async def live(self, until: float) -> None:
        """Work until that time of `time.monotonic()`."""
        while time.monotonic() < until:
            try:
                await self._session(until)
            except (AssertionError, TimeoutError, APIError, BusError, StopAsyncIteration) as exc:
                self.complain(f"neighbour {self.number}: {type(exc).__name__}: {exc}")

    async def _session(self, until: float) -> None:
        conversation = await Conversation.begin(self.client)
        kept = secrets.token_hex(8)
        try:
            async with await self.client.beta.sessions.events.stream(conversation.id) as stream:
                events = aiter(stream)
                for turn in range(TURNS):
                    async with asyncio.timeout(TURN_WITHIN_S):
                        await self._turn(conversation, events, turn, kept)
                    if time.monotonic() > until:
                        break
        finally:
            log = await read_log(self.stack, conversation.id)
            self.steps += steps_of(log)
        await check_session(self.stack, conversation)
        in_one_sandbox(log)
        not_given_up(log)
        self.sessions += 1
        self.events += log[-1].commit.head.count
        await self.client.beta.sessions.delete(conversation.id)
        self.deleted.append(conversation.id)

    async def _turn(self, conversation: Conversation, events: AsyncIterator[Any], turn: int, kept: str) -> None:
        sent = await conversation.say(self.mark, f"This is turn {turn}, which keeps {kept}.")
        is_taken = False
        results: list[Any] = []
        while True:
            event = await anext(events)
            is_taken = is_taken or event.id in sent
            if event.type == "agent.tool_result":
                results.append(event)
            assert event.type != "session.error", f"turn {turn}: {event.error.message}"
            if is_taken and event.type == "session.status_idle":
                break
        failed = [text(result) for result in results if result.is_error]
        assert not failed, f"turn {turn}: {failed}"
        shown = [text(result) for result in results]
        assert len(shown) == 6, f"turn {turn}: {shown}"
        for result in (shown[0], shown[-1]):
            assert f"kept: {kept}\n" in result, f"turn {turn}: the shell has lost its variable: {result!r}"
        assert f"turn {turn}: done" in shown[-1], f"turn {turn}: the note has another content: {shown[-1]!r}"


def in_one_sandbox(log: Sequence[Stored]) -> None:
    """The session had one sandbox from its first call to its end."""
    generations = {hand.generation for stored in log for hand in stored.commit.head.hands.values()}
    assert len(generations) <= 1, f"the session lost a sandbox: {generations}"


def not_given_up(log: Sequence[Stored]) -> None:
    """No turn of the session was closed by rule 4."""
    texts = [str(e.error) for s in log for e in s.commit.events if isinstance(e, ev.SessionError)]
    assert not [t for t in texts if GIVEN_UP in t], texts
