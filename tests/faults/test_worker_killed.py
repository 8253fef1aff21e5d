"""The sandbox service is killed at seven moments of a call: no process is left, files are kept, the turn goes on."""

from tests.faults.conftest import Start
from tests.support.conversation import Conversation, results, text
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants, journaled, tool_runs
from tests.support.model import say
from tests.support.processes import running
from tests.support.stack import Stack

SLEEP = "sleep 1234.5"
"""A command line that is unique on this machine."""


async def test_a_worker_killed_while_a_command_runs(start: Start) -> None:
    stack = start()
    steps = [journaled("one", SLEEP), journaled("two", "cat run-journal"), say("Over.")]
    mark = await stack.model.play(*steps)
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await eventually(lambda: running(SLEEP), what="the command")
        old = stack.kill("sandbox")
        events = await conversation.until_idle()
        first, second = results(events).values()
        assert first.is_error
        assert "sandbox was lost" in text(first)
        assert not second.is_error
        assert text(second).startswith("one ")
        assert tool_runs(stack, conversation.id) == {"one": 1, "two": 1}
        assert not await running(SLEEP), "a command outlived its worker"
        await stack.replaced("sandbox", old)
        await check_invariants(stack, conversation)
    assert len(await stack.model.requests(mark)) == 3


async def test_a_worker_killed_before_it_runs_the_call(start: Start) -> None:
    stack = start(faults={"sandbox": "worker.admitted:kill"})
    await _turn_goes_on(stack, runs=0, good=False)


async def test_a_worker_killed_before_it_stores_the_result(start: Start) -> None:
    stack = start(faults={"sandbox": "worker.ran:kill"})
    await _turn_goes_on(stack, runs=1, good=False)


async def test_a_worker_killed_while_it_answers_with_the_result(start: Start) -> None:
    stack = start(faults={"sandbox": "worker.answered:kill"})
    await _turn_goes_on(stack, runs=1, good=False)


async def test_a_worker_killed_after_its_answer_before_it_has_dealt_with_the_confirmation(start: Start) -> None:
    stack = start(faults={"sandbox": "worker.confirmed:kill"})
    await _turn_goes_on(stack, runs=1, good=True, second_good=False)


async def test_a_worker_killed_after_it_stored_the_result(start: Start) -> None:
    """The command lasts longer than the window, so that its result comes to the inbox."""
    stack = start(faults={"sandbox": "worker.result_stored:kill"})
    await _turn_goes_on(stack, runs=1, good=True, second_good=False, command="sleep 0.6")


async def test_a_worker_killed_while_it_makes_the_sandbox(start: Start) -> None:
    """The call is not bound to a sandbox yet, so the worker that starts next runs it (rule 12)."""
    stack = start(faults={"sandbox": "worker.created:kill"})
    await _turn_goes_on(stack, runs=1, good=True)


async def _turn_goes_on(
    stack: Stack, *, runs: int, good: bool, second_good: bool = True, command: str = "true"
) -> None:
    """Two calls; the worker dies with the first.

    `runs`: how often the first one ran. `good`, `second_good`: the result is not an error. The second call is lost if
    the first was not: its generation replied a moment ago, so nobody asks whether it lives before the call is bound to
    it (rule 12). The model answers in milliseconds, a worker needs longer to start and to report the hand.
    """
    old = stack.pid("sandbox")
    mark = await stack.model.play(journaled("one", command), journaled("two"), say("Over."))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await stack.replaced("sandbox", old)
        events = await conversation.until_idle()
        first, second = results(events).values()
        assert bool(first.is_error) != good
        assert bool(second.is_error) != second_good
        if not second_good:
            assert "sandbox was lost" in text(second)
        counted = tool_runs(stack, conversation.id)
        assert (counted["one"], counted["two"]) == (runs, int(second_good))
        await check_invariants(stack, conversation)
        assert len(await stack.model.requests(mark)) == 3
        after = await stack.model.play(journaled("three"), say("Well again."))
        await conversation.say(after)
        third = list(results(await conversation.until_idle()).values())[-1]
        assert not third.is_error
        await check_invariants(stack, conversation)
