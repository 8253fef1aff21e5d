"""The contract of a hand: what every worker must do with requests, whatever its tools are (rules 12, 13, 14, 18, 22).

The author of a worker defines the fixture `hand`, which runs one over the bus of the fixture `joined`.
"""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Answer, Cancel, Confirm, Execute, Probe, Provision, Provisioned, Release
from holdfast.bus.commits import Stored, commit
from holdfast.bus.errors import NoResponders, Refused, Unavailable
from holdfast.bus.ids import Key, new_id
from holdfast.bus.inputs import CallResult
from holdfast.testing.eventually import eventually

REPLY_TIMEOUT_S = 5.0
PROVISION_TIMEOUT_S = 30.0
RESULT_TIMEOUT_S = 20.0
CONFIRM_TIMEOUT_S = 1.0
"""Seconds after which a worker publishes a result that it gave in an answer and that was not confirmed (rule 14)."""

STARTED = ("accepted", "result")
"""Answers to a call that runs or has run: its result is in the answer, or comes to the inbox."""


class ToolInput(msgspec.Struct, frozen=True):
    """A tool with an input."""

    name: str
    input: dict[str, Any] = {}


class HandUnderTest(msgspec.Struct, frozen=True):
    """A hand whose worker runs: its name, a call that ends at once, and one that runs for minutes unless cancelled.

    `quick` must not wait for `slow`.
    """

    name: str
    quick: ToolInput
    slow: ToolInput


class HandSession:
    """One session as its harness sees it: opens calls in the log, sends them, reads results from the inbox."""

    def __init__(self, bus: Bus, key: Key, hand: str) -> None:
        self.bus = bus
        self.key = key
        self.hand = hand
        self.bound = Provisioned()
        self.last: Stored | None = None

    async def append(self, *events: ev.Event) -> None:
        """Append a commit with these events."""
        made = commit(self.last, events, by="test", new_id=new_id, now=time.time_ns() // 1000)
        self.last = Stored(await self.bus.log.append(self.key, made, self.seq), made)

    @property
    def seq(self) -> int:
        """Sequence of the last commit."""
        return self.last.seq if self.last else 0

    async def begin(self) -> None:
        """Append the creation commit."""
        config = ev.SessionConfig(
            id=new_id("sevt"), tenant=self.key.tenant, agent={}, environment_id="env_x", environment={"type": "cloud"},
            primary_thread=new_id("sthr"),
        )  # fmt: skip
        await self.append(config)

    async def provision(self, *, hand: str = "", subject: str = "", log_seq: int = -1) -> Provisioned:
        """Request the hand; the log is not changed."""
        ask = Provision(
            tenant=self.key.tenant,
            session=self.key.session,
            hand=hand or self.hand,
            log_seq=self.seq if log_seq < 0 else log_seq,
        )
        subject = subject or subjects.provision(self.key.cell, self.hand)
        raw = await self.bus.core.request(subject, msgspec.json.encode(ask), timeout=PROVISION_TIMEOUT_S)
        return msgspec.json.decode(raw, type=Provisioned)

    async def bind(self) -> Provisioned:
        """Request the hand and bind it in the log."""
        self.bound = await self.provision()
        assert not self.bound.error, self.bound.message
        event = ev.HandBound(
            id=new_id("sevt"), hand=self.hand, generation=self.bound.generation, worker=self.bound.worker
        )  # fmt: skip
        await self.append(event)
        return self.bound

    async def lose(self) -> None:
        """Log that the generation is lost, with a result for each open call."""
        lost = ev.HandLost(id=new_id("sevt"), hand=self.hand, generation=self.bound.generation, reason="gone")
        calls = self.last.commit.head.calls if self.last else ()
        await self.append(*[ev.AgentToolResult(id=new_id("sevt"), tool_use_id=c.id) for c in calls], lost)

    async def open(self, tool: ToolInput) -> str:
        """Append a call that is ready to run. Returns its id."""
        use = ev.AgentToolUse(id=new_id("sevt"), name=tool.name, input=tool.input, hand=self.hand)
        await self.append(use)
        return use.id

    async def execute(self, call: str, tool: ToolInput, *, generation: str = "") -> str:
        """The answer of the worker that was bound; a result in it is not confirmed."""
        return (await self.ask(call, tool, generation=generation)).answer

    async def ask(self, call: str, tool: ToolInput, *, generation: str = "") -> Answer:
        """As `execute`, but returns the whole answer."""
        ask = Execute(
            tenant=self.key.tenant,
            session=self.key.session,
            call=call,
            name=tool.name,
            input=tool.input,
            generation=generation or self.bound.generation,
            log_seq=self.seq,
        )
        return await self._ask(subjects.execute(self.key.cell, self.bound.worker), ask)

    async def confirm(self, call: str) -> None:
        """Say that the result in an answer is in the log (rule 13)."""
        done = Confirm(
            tenant=self.key.tenant, session=self.key.session, call=call, generation=self.bound.generation
        )  # fmt: skip
        await self.bus.core.publish(subjects.confirm(self.key.cell, self.bound.worker), msgspec.json.encode(done))

    async def cancel(self, call: str) -> str:
        ask = Cancel(
            tenant=self.key.tenant, session=self.key.session, call=call, generation=self.bound.generation
        )  # fmt: skip
        return (await self._ask(subjects.cancel(self.key.cell, self.bound.worker), ask)).answer

    async def probe(self) -> str:
        ask = Probe(tenant=self.key.tenant, session=self.key.session, generation=self.bound.generation)
        return (await self._ask(subjects.probe(self.key.cell, self.bound.worker), ask)).answer

    async def release(self, *, files: bool = False) -> str:
        """End the hand; with `files` also what it keeps."""
        ask = Release(tenant=self.key.tenant, session=self.key.session, files=files)
        return (await self._ask(subjects.release(self.key.cell), ask)).answer

    async def _ask(self, subject: str, request: msgspec.Struct) -> Answer:
        raw = await self.bus.core.request(subject, msgspec.json.encode(request), timeout=REPLY_TIMEOUT_S)
        return msgspec.json.decode(raw, type=Answer)

    async def results(self) -> list[CallResult]:
        """All results in the inbox."""
        waiting = await self.bus.inbox.pending(self.key)
        assert all(entry.source == "res" for entry in waiting if isinstance(entry.input, CallResult))
        return [entry.input for entry in waiting if isinstance(entry.input, CallResult)]

    async def result(self, call: str) -> CallResult:
        """Wait for the result of that call."""

        async def look() -> CallResult | None:
            return next((found for found in await self.results() if found.id == call), None)

        found = await eventually(look, within=RESULT_TIMEOUT_S, what=f"result of {call}")
        assert found is not None
        return found


@pytest.fixture
async def session(bus: Bus, key: Key, hand: HandUnderTest) -> HandSession:
    """A session of its own, with its hand bound."""
    made = HandSession(bus, key, hand.name)
    await made.begin()
    await made.bind()
    return made


async def test_a_session_has_one_generation_however_often_it_is_asked_for(session: HandSession) -> None:
    answers = await asyncio.gather(*(session.provision() for _ in range(5)))
    assert {(a.generation, a.worker, a.error) for a in answers} == {
        (session.bound.generation, session.bound.worker, "")
    }


async def test_a_worker_can_be_asked_for_the_hand_directly(session: HandSession) -> None:
    subject = subjects.provision_at(session.key.cell, session.bound.worker)
    assert (await session.provision(subject=subject)).generation == session.bound.generation


async def test_a_generation_says_what_its_loss_leaves(session: HandSession) -> None:
    assert session.bound.kept.endswith(".")


async def test_another_hand_is_refused(session: HandSession) -> None:
    with pytest.raises(Refused):
        await session.provision(hand="other")


async def test_no_hand_is_made_from_a_log_that_is_behind(session: HandSession) -> None:
    await session.release()
    with pytest.raises(Unavailable):
        await session.provision(log_seq=session.seq + 1)


async def test_an_archived_session_gets_no_hand(session: HandSession) -> None:
    await session.release()
    await session.append(ev.SessionStatusTerminated(id=new_id("sevt")))
    with pytest.raises(Refused):
        await session.provision()


async def test_a_call_runs_and_its_result_comes_to_the_inbox(session: HandSession, hand: HandUnderTest) -> None:
    """Also a result in an answer, as nobody confirms it."""
    call = await session.open(hand.quick)
    answer = await session.ask(call, hand.quick)
    assert answer.answer in STARTED
    result = await session.result(call)
    assert (result.generation, result.is_error, result.lost) == (session.bound.generation, False, False)
    assert result.content
    if answer.answer == "result":
        assert answer.content == result.content
        assert (answer.is_error, answer.lost) == (False, False)


async def test_a_confirmed_result_is_neither_published_nor_answered_again(
    session: HandSession, hand: HandUnderTest
) -> None:
    call = await session.open(hand.quick)
    answer = await session.ask(call, hand.quick)
    if answer.answer == "accepted":
        pytest.skip("this hand answers with no results")
    assert await session.ask(call, hand.quick) == answer, "it is not confirmed yet"
    await session.confirm(call)

    async def forgotten() -> bool:
        return await session.execute(call, hand.quick) == "accepted"

    await eventually(forgotten, what="the confirmed result is forgotten, the call is not")
    await asyncio.sleep(1.5 * CONFIRM_TIMEOUT_S)  # what is tested is that nothing happens in that time
    assert await session.results() == []


async def test_a_call_runs_once_however_often_it_is_sent(session: HandSession, hand: HandUnderTest) -> None:
    call = await session.open(hand.quick)
    answers = await asyncio.gather(*(session.execute(call, hand.quick) for _ in range(5)))
    assert set(answers) <= set(STARTED)
    await session.result(call)
    assert await session.execute(call, hand.quick) == "accepted", "known, and its result is in the inbox"
    after = await session.open(hand.quick)
    assert await session.execute(after, hand.quick) in STARTED
    await session.result(after)
    assert [found.id for found in await session.results()].count(call) == 1


async def test_only_an_open_call_of_this_generation_runs(session: HandSession, hand: HandUnderTest) -> None:
    call = await session.open(hand.quick)
    assert await session.execute(new_id("sevt"), hand.quick) == "refused"
    assert await session.execute(call, hand.slow) == "refused", "the log has another tool"
    assert await session.execute(call, hand.quick, generation="sbx_other") == "gone"
    await session.lose()
    assert await session.execute(call, hand.quick) == "refused"
    assert await session.results() == []


async def test_a_quick_call_does_not_wait_for_a_slow_one(session: HandSession, hand: HandUnderTest) -> None:
    slow, quick = await session.open(hand.slow), await session.open(hand.quick)
    assert await session.execute(slow, hand.slow) == "accepted"
    assert await session.execute(quick, hand.quick) in STARTED
    await session.result(quick)
    assert [found.id for found in await session.results()] == [quick]
    assert await session.cancel(slow) == "cancelled"


async def test_a_cancelled_call_is_refused_for_ever(session: HandSession, hand: HandUnderTest) -> None:
    running, unheard = await session.open(hand.slow), await session.open(hand.quick)
    assert await session.execute(running, hand.slow) == "accepted"
    assert await session.cancel(running) == "cancelled"
    assert await session.cancel(unheard) == "cancelled"
    assert await session.execute(running, hand.slow) == "refused"
    assert await session.execute(unheard, hand.quick) == "refused"
    assert await session.results() == []


async def test_a_released_hand_is_gone_and_the_next_one_is_another(session: HandSession, hand: HandUnderTest) -> None:
    before = session.bound
    call = await session.open(hand.slow)
    assert await session.execute(call, hand.slow) == "accepted"
    assert await session.probe() == "accepted"
    assert await session.release() == "done"
    assert await session.probe() == "gone"
    assert await session.execute(call, hand.slow) == "gone"
    assert await session.cancel(call) == "gone"
    result = await session.result(call)
    assert result.lost
    assert session.hand in str(result.content), "the text says which hand was lost"
    assert before.kept in str(result.content), "the text says what is kept"
    await session.lose()
    assert (await session.bind()).generation != before.generation


async def test_an_unknown_worker_is_known_at_once(session: HandSession) -> None:
    with pytest.raises(NoResponders):
        await session.provision(subject=subjects.provision_at(session.key.cell, new_id("wrk")))
