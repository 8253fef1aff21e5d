"""A harness dies at one step of a turn, and so does the harness that takes over; the third one finishes the turn."""

from tests.faults.conftest import Start
from tests.support.conversation import Conversation
from tests.support.invariants import check_invariants, journaled
from tests.support.model import say
from tests.support.workload import REQUESTS, fault_at, workload_survives_kills


async def test_killed_right_after_the_claim(start: Start) -> None:
    """The model request that the claim starts may have been sent beside it."""
    armed = fault_at("claimed")
    await workload_survives_kills(start(faults=armed), armed, dropped=2)


async def test_killed_between_announcing_a_model_request_and_sending_it(start: Start) -> None:
    armed = fault_at("before_model_request")
    await workload_survives_kills(start(faults=armed), armed)


async def test_killed_while_the_model_responds_so_the_request_is_repeated(start: Start) -> None:
    armed = fault_at("in_stream")
    await workload_survives_kills(start(faults=armed), armed, requests=REQUESTS + 2)


async def test_killed_between_logging_a_tool_call_and_sending_it_to_the_sandbox(start: Start) -> None:
    armed = fault_at("response_appended")
    await workload_survives_kills(start(faults=armed), armed)


async def test_killed_while_the_tool_runs_so_the_call_runs_once(start: Start) -> None:
    """The command lasts longer than the window and a takeover: its result is in nobody's answer."""
    armed = fault_at("calls_sent")
    await workload_survives_kills(start(faults=armed), armed, **journaled("one", "sleep 5"))


async def test_killed_between_the_answer_of_a_worker_and_the_append_of_its_result(start: Start) -> None:
    armed = fault_at("result_answered")
    await workload_survives_kills(start(faults=armed), armed)


async def test_killed_between_a_tool_result_and_the_next_model_request(start: Start) -> None:
    armed = fault_at("result_appended")
    await workload_survives_kills(start(faults=armed), armed, dropped=2)


async def test_killed_at_the_end_of_the_turn_before_the_claim_is_released(start: Start) -> None:
    """The last response is in the same commit as the end of its turn, so it is lost, and asked for once more."""
    armed = fault_at("before_release")
    await workload_survives_kills(start(faults=armed), armed, requests=REQUESTS + 2)


async def test_killed_after_the_release_before_the_input_is_acknowledged(start: Start) -> None:
    armed = fault_at("released")
    await workload_survives_kills(start(faults=armed), armed, deaths=1)


async def test_a_turn_that_kills_every_harness_is_given_up_and_the_next_turn_works(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(say("never said", gates=[{"name": "deadly", "after": -1}]))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        for takeover in range(1, 4):
            await stack.model.reached("deadly", takeover)
            owner = await stack.driver(conversation.id)
            await stack.replaced(owner, stack.kill(owner))
        events = await conversation.until_idle("retries_exhausted")
        errors = [e for e in events if e.type == "session.error"]
        assert [e.error.retry_status.type for e in errors] == ["exhausted"]
        await conversation.say(await stack.model.play(say("Well again.")))
        await conversation.until_idle()
        await check_invariants(stack, conversation)
    assert len(await stack.model.requests(mark)) == 4
