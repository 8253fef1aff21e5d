"""One session with two hands side by side: the real sandbox, and the clock of these tests. A real harness drives it."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.bus import events as ev
from holdfast.bus.api import Bus
from holdfast.bus.head import Head
from holdfast.bus.ids import FIRST_CELL, Key, new_id
from holdfast.bus.inputs import ClientInput
from holdfast.bus.tools import SANDBOX, TOOLSET
from holdfast.harness.models.interface import Endpoint
from holdfast.harness.models.registry import MODELS
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.dispatch import Dispatcher
from holdfast.sandbox.drivers import make_driver
from holdfast.testing.contracts.fixtures import Connect
from holdfast.testing.contracts.hands import HandSession
from tests.support.both_buses import bus, joined, key, nats
from tests.support.clock import ClockDriver, hand_worker
from tests.support.clock_tools import CLOCK, clock_tools
from tests.support.eventually import eventually
from tests.support.isolation import Isolation, sandbox_settings
from tests.support.model import ScriptedModel, say, scripted_model
from tests.support.processes import first_processes

__all__ = ["bus", "joined", "key", "nats"]

AGENT: dict[str, Any] = {
    "id": "agent_1",
    "type": "agent",
    "version": 1,
    "name": "tester",
    "model": {"id": "claude-opus-4-6"},
    "tools": [
        {
            "type": TOOLSET,
            "default_config": {"enabled": True, "permission_policy": {"type": "always_allow"}},
            "configs": [],
        }
    ],
}


class Talk:
    """A session with both hands, and what its log says."""

    def __init__(self, session: HandSession, model: ScriptedModel, clock: ClockDriver) -> None:
        self.session = session
        self.model = model
        self.clock = clock
        self.turns = 0

    async def begin(self) -> None:
        config = ev.SessionConfig(
            id=new_id("sevt"), tenant=self.session.key.tenant, agent=AGENT, environment_id="env_x",
            environment={"type": "cloud"}, primary_thread=new_id("sthr"),
        )  # fmt: skip
        await self.session.append(config)

    async def send(self, event: ev.ClientEvent) -> None:
        await self.session.bus.inbox.put(self.session.key, ClientInput(id=new_id("in"), events=[event]))

    async def say(self, *steps: dict[str, Any]) -> None:
        """Send the message that starts a scenario of these steps."""
        self.turns += 1
        mark = await self.model.play(*steps)
        text = {"type": "text", "text": f"[play:{mark}]"}
        await self.send(ev.UserMessage(id=new_id("sevt"), content=[text]))

    async def head(self) -> Head:
        stored = await self.session.bus.log.head(self.session.key, leader=True)
        assert stored is not None
        return stored.commit.head

    async def events(self) -> list[ev.Event]:
        stored = await self.session.bus.log.read(self.session.key)
        return [event for entry in stored for event in entry.commit.events]

    async def calls(self) -> dict[str, str]:
        """Ids of the calls by the name of their tool."""
        return {e.name: e.id for e in await self.events() if isinstance(e, ev.AgentToolUse)}

    async def results(self) -> dict[str, ev.AgentToolResult]:
        """Results by the name of their tool."""
        found = {e.tool_use_id: e for e in await self.events() if isinstance(e, ev.AgentToolResult)}
        return {name: found[call] for name, call in (await self.calls()).items() if call in found}

    async def idle(self) -> None:
        """Wait until every turn has ended."""

        async def look() -> bool:
            ends = [e for e in await self.events() if isinstance(e, ev.SessionStatusIdle)]
            return len(ends) == self.turns and (await self.head()).claim is None

        await eventually(look, what="the turn ends")

    async def both_run(self) -> None:
        """Wait until both hands are bound and hold calls."""

        async def look() -> bool:
            head = await self.head()
            return set(head.hands) == {SANDBOX, CLOCK} and all(call.generation for call in head.calls)

        await eventually(look, what="both hands are bound")


def text(result: ev.AgentToolResult) -> str:
    return "".join(block.get("text", "") for block in result.content or ())


def contents(folder: Path) -> list[str]:
    """What is in the files called `file` of all workspaces."""
    return [file.read_text() for file in folder.glob("data/workspaces/*/*/file")]


def both(command: str, seconds: float) -> dict[str, Any]:
    """A step of the model that calls a tool of each hand in one answer."""
    tools = [{"name": "bash", "input": {"command": command}}, {"name": "sleep", "input": {"seconds": seconds}}]
    return {"tools": tools}


@contextlib.asynccontextmanager
async def harness(bus: Bus, model: ScriptedModel) -> AsyncIterator[None]:
    """A harness in this process, of which the tools of the clock are known."""
    client = MODELS["anthropic"](Endpoint(base_url=model.base_url, key="sk-ant-test", silence=30.0))
    dispatcher = Dispatcher(bus, client, HarnessSettings(), name="harness", now=lambda: time.time_ns() // 1000)
    stop = asyncio.Event()
    task = asyncio.create_task(bus.inbox.consume(FIRST_CELL, dispatcher.handle, stop, limit=8))
    try:
        yield
    finally:
        dispatcher.draining.set()
        stop.set()
        await asyncio.wait_for(task, 20)
        await client.close()


@pytest.fixture
async def talk(joined: Connect, key: Key, tmp_path: Path, isolation: Isolation) -> AsyncIterator[Talk]:
    sandbox, clock = make_driver(sandbox_settings(data_dir=str(tmp_path / "data"))), ClockDriver()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(clock_tools())
        model = stack.enter_context(scripted_model(log=tmp_path / "model.log"))
        await stack.enter_async_context(hand_worker(await joined("sandbox"), sandbox, hand=SANDBOX))
        await stack.enter_async_context(hand_worker(await joined("clock"), clock))
        await stack.enter_async_context(harness(await joined("harness"), model))
        made = Talk(HandSession(await joined("test"), key, SANDBOX), model, clock)
        await made.begin()
        yield made


async def test_calls_of_one_answer_go_to_both_hands(talk: Talk) -> None:
    await talk.say(both("echo hello", 0.1), say("Done."))
    await talk.idle()
    results = await talk.results()
    assert text(results["bash"]) == "hello\n"
    assert float(text(results["sleep"])) == pytest.approx(time.time(), abs=60)
    head = await talk.head()
    assert set(head.hands) == {SANDBOX, CLOCK}
    assert len({hand.worker for hand in head.hands.values()}) == 2


async def test_calls_that_only_read_run_side_by_side(talk: Talk) -> None:
    long, short = ({"name": "sleep", "input": {"seconds": seconds}} for seconds in (3600, 0.01))
    await talk.say({"tools": [long, short]}, say("Never."))

    async def look() -> list[ev.AgentToolResult]:
        return [e for e in await talk.events() if isinstance(e, ev.AgentToolResult)]

    (result,) = await eventually(look, what="the second call ends")
    calls = [e.id for e in await talk.events() if isinstance(e, ev.AgentToolUse)]
    assert result.tool_use_id == calls[1]
    assert [c.id for c in (await talk.head()).calls] == calls[:1]
    await talk.send(ev.UserInterrupt(id=new_id("sevt")))
    await talk.idle()


async def test_the_loss_of_one_hand_closes_only_its_own_calls(talk: Talk, tmp_path: Path) -> None:
    await talk.say(both("echo kept > file; sleep 10", 2.0), both("cat file", 0.0), say("Done."))
    await talk.both_run()
    before = await talk.head()

    async def runs() -> bool:
        return "kept\n" in contents(tmp_path)

    await eventually(runs, what="the command of the sandbox")
    for agent in first_processes(os.getpid()):
        agent.kill()

    async def lost() -> bool:
        return "bash" in await talk.results()

    await eventually(lost, what="the call of the lost sandbox is closed")
    assert "The sandbox was lost" in text((await talk.results())["bash"])
    open_calls = {call.id: call.generation for call in (await talk.head()).calls}
    calls = await talk.calls()
    assert open_calls.get(calls["sleep"], before.hands[CLOCK].generation) == before.hands[CLOCK].generation
    await talk.idle()
    outcomes = [e for e in await talk.events() if isinstance(e, ev.AgentToolResult)]
    assert [bool(e.is_error) for e in outcomes] == [True, False, False, False]
    assert sorted(text(e).startswith("kept\n") for e in outcomes) == [False, False, False, True], "the files were kept"
    after = await talk.head()
    assert after.hands[CLOCK] == before.hands[CLOCK]
    assert after.hands[SANDBOX].generation != before.hands[SANDBOX].generation
    lost_hands = {e.hand for e in await talk.events() if isinstance(e, ev.HandLost)}
    assert lost_hands <= {SANDBOX}


async def test_an_interrupt_cancels_the_calls_of_both_hands(talk: Talk) -> None:
    await talk.say(both("sleep 300", 300.0))
    await talk.both_run()
    calls = await talk.calls()
    await talk.send(ev.UserInterrupt(id=new_id("sevt")))
    await talk.idle()
    results = await talk.results()
    assert {name: bool(result.is_error) for name, result in results.items()} == {"bash": True, "sleep": True}
    assert calls["sleep"] in talk.clock.cancelled
    assert not (await talk.head()).calls
    await talk.say(both("ps -e -o comm= 2>/dev/null || cat /proc/[0-9]*/comm", 0.0), say("Done."))

    async def done() -> bool:
        found = [e for e in await talk.events() if isinstance(e, ev.AgentToolResult)]
        return len(found) == 4

    await eventually(done, what="the next turn has its results")
    await talk.idle()
    assert "sleep" not in text((await talk.results())["bash"]).split()


async def test_both_hands_are_reported_to_a_reader_of_the_head(talk: Talk) -> None:
    await talk.say(both("true", 0.0), say("Done."))
    await talk.idle()
    hands = msgspec.to_builtins((await talk.head()).hands)
    assert {name: hand["kept"] for name, hand in hands.items()} == {
        SANDBOX: make_driver(sandbox_settings()).kept,
        CLOCK: ClockDriver.kept,
    }
