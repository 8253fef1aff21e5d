"""Every process is killed at once and the stack started again on the same folder: each session goes on by itself."""

from tests.faults.conftest import Start
from tests.support.conversation import Talk, results, text
from tests.support.eventually import eventually
from tests.support.invariants import check, noted, runs
from tests.support.model import bash, say
from tests.support.processes import running
from tests.support.workload import REQUESTS, finished, job

SLEEP = "sleep 3456.7"


async def test_in_the_middle_of_an_answer(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(*job(gates=[{"name": "middle", "after": 3}]))
    async with stack.client() as client:
        talk = await Talk.begin(client)
        await talk.say(mark)
        await stack.model.reached("middle")
        stack.kill_all()
        await stack.model.release("middle")
        stack.start()
        await finished(stack, talk, mark, requests=REQUESTS + 1)


async def test_while_a_command_runs(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(noted("one", SLEEP), noted("two", "cat ledger"), say("Over."))
    async with stack.client() as client:
        talk = await Talk.begin(client)
        await talk.say(mark)
        await eventually(lambda: running(SLEEP), what="the command")
        stack.kill_all()
        stack.start()
        events = await talk.rests()
        first, second = results(events).values()
        assert first.is_error
        assert not second.is_error
        assert runs(stack, talk.id) == {"one": 1, "two": 1}
        assert not await running(SLEEP), "a command outlived the stack"
        await check(stack, talk)
    assert len(await stack.model.requests(mark)) == 3


async def test_while_sessions_rest(start: Start) -> None:
    stack = start()
    write = bash("echo kept > note && export WORD=lost")
    mark = await stack.model.play(write, say("Written."), bash('cat note; echo "[$WORD]"'), say("Read."))
    async with stack.client() as client:
        talk = await Talk.begin(client)
        await talk.say(mark)
        await talk.rests()
        stack.stop()
        stack.start()
        await talk.send({"type": "user.message", "content": [{"type": "text", "text": "and now?"}]})
        events = await talk.rests()
        assert text(list(results(events).values())[-1]).split() == ["kept", "[]"]
        await check(stack, talk)
