"""A model that is away for long: the turn waits for it, visibly, and any part may die meanwhile."""

from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from anthropic import AsyncAnthropic

from tests.support.conversation import Conversation, text
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants
from tests.support.model import say
from tests.support.stack import Stack, stack

PATIENT = {
    "HOLDFAST_MODEL_PATIENCE": "3600",
    "HOLDFAST_MODEL_ATTEMPTS": "8",
    "HOLDFAST_RETRY_FIRST": "0.02",
    "HOLDFAST_RETRY_MOST": "0.05",
}


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    with stack(tmp_path_factory.mktemp("patient"), environ=PATIENT) as running:
        yield running


@pytest.fixture
async def client(patient: Stack) -> AsyncGenerator[AsyncAnthropic]:
    async with patient.client() as client:
        yield client


def failures(events: list[Any]) -> list[Any]:
    return [e.error for e in events if e.type == "session.error"]


async def test_a_rate_limit_is_waited_out_and_told_less_and_less_often(patient: Stack, client: AsyncAnthropic) -> None:
    mark = await patient.model.play(say("At last.", faults=[{"kind": "status", "status": 429, "times": 40}]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    assert len(await patient.model.requests(mark)) == 41
    assert [text(e) for e in events if e.type == "agent.message"] == ["At last."]
    told = failures(events)
    assert 3 <= len(told) <= 30
    assert {(e.type, e.retry_status.type) for e in told} == {("model_rate_limited_error", "retrying")}
    assert told[0].message.startswith(f"The model at {patient.model.base_url} answered 429: ")
    assert "(attempt 1, next in " in told[0].message
    kinds = [e.type for e in events]
    assert kinds.count("session.status_rescheduled") == kinds.count("session.thread_status_rescheduled") == len(told)
    assert kinds.count("span.model_request_start") == kinds.count("span.model_request_end") == 41
    assert kinds.count("session.status_running") == 2
    answered = kinds.index("agent.message")
    assert kinds[answered - 2 : answered] == ["session.status_running", "session.thread_status_running"]
    await check_invariants(patient, conversation)


@pytest.mark.timeout(150)
async def test_harnesses_may_die_while_the_model_is_away(patient: Stack, client: AsyncAnthropic) -> None:
    """Each failed request shows that its owner lived through it: the turn is not given up after three takeovers."""
    mark = await patient.model.play(say("Never.", faults=[{"kind": "status", "status": 529, "times": 0}]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    count = 0
    for _ in range(4):
        await patient.model.requests(mark, count=count + 5)
        patient.kill(await patient.driver(conversation.id))
        count = len(await patient.model.requests(mark))
    await patient.model.requests(mark, count=count + 5)
    await patient.model.replay(mark, say("At last."))
    events = await conversation.until_idle()
    assert [text(e) for e in events if e.type == "agent.message"] == ["At last."]
    numbers = [int(e.message.rpartition("(attempt ")[2].partition(",")[0]) for e in failures(events)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] > 8
    await check_invariants(patient, conversation)


async def test_an_interrupt_ends_a_long_outage(patient: Stack, client: AsyncAnthropic) -> None:
    mark = await patient.model.play(say("Never.", faults=[{"kind": "status", "status": 503, "times": 0}]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await patient.model.requests(mark, count=12)
    assert (await client.beta.sessions.retrieve(conversation.id)).status == "rescheduling"
    await conversation.interrupt()
    await conversation.until_idle(within=10)
    await conversation.say(await patient.model.play(say("Back.")))
    events = await conversation.until_idle(within=10)
    assert text(events[-5]) == "Back."
    await check_invariants(patient, conversation)


async def test_a_new_message_ends_a_wait_however_long(patient: Stack, client: AsyncAnthropic) -> None:
    busy = {"kind": "status", "status": 429, "retry_after": 9_999_999_999, "times": 0}
    mark = await patient.model.play(say("Never.", faults=[busy]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await conversation.until_events("session.status_rescheduled")
    (failure,) = failures(await conversation.events())
    assert failure.message.endswith("(attempt 1, next in 2 min)")
    await conversation.say(await patient.model.play(say("Here.")))
    events = await conversation.until_idle(within=10)
    assert text(events[-5]) == "Here."
    assert len(await patient.model.requests(mark)) == 2
    await check_invariants(patient, conversation)


async def test_an_answer_that_breaks_off_each_time_is_not_paid_for_for_hours(
    patient: Stack, client: AsyncAnthropic
) -> None:
    mark = await patient.model.play(say("It never gets there.", faults=[{"kind": "cut", "after": 2, "times": 0}]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle("retries_exhausted")
    assert len(await patient.model.requests(mark)) == 8
    last = failures(events)[-1]
    assert last.retry_status.type == "exhausted"
    assert "(given up at attempt 8, after " in last.message
    await check_invariants(patient, conversation)


async def test_a_model_that_is_not_there_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    environ = {**PATIENT, "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    with stack(tmp_path_factory.mktemp("away"), environ=environ, harnesses=1) as away:
        async with away.client() as client:
            conversation = await Conversation.begin(client)
            await conversation.say("nobody-hears-it")
            (error, *_) = failures(await conversation.until_events("session.error"))
            assert error.message.startswith(
                "The model at http://127.0.0.1:9 could not be reached: connection refused (attempt 1, next in "
            )

            async def many() -> bool:
                return len(await conversation.events("span.model_request_end")) > 10

            await eventually(many, what="more than ten attempts")
            await conversation.interrupt()
            await conversation.until_idle(within=10)
