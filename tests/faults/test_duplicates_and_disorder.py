"""Inputs stored twice, repeated and unknown results, deliveries out of order: each input is logged once."""

import asyncio
import signal

from holdfast.bus import codec, subjects
from holdfast.bus import events as ev
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import AnyInput, CallResult, ClientInput, Nudge, source_for
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.settings import credentials
from tests.faults.conftest import Start
from tests.support.conversation import Conversation
from tests.support.forged_deliveries import ForgedDelivery, intruder
from tests.support.invariants import check_invariants, read_log
from tests.support.model import say
from tests.support.stack import Stack, key
from tests.support.workload import workload, workload_finished


async def _store_again(stack: Stack, session: str, value: AnyInput) -> None:
    """Store the input under another message id, so that the stream does not recognise it as a duplicate."""
    link = JetStreamClient()
    run = stack.run
    source = source_for(value)
    user = "sandbox" if source == "res" else "session"
    await link.open([run.nats_url], name="test", login=credentials(run.credentials[user]))
    data, _ = codec.encode_input(value)
    await link.store(subjects.inbox(key(session), source), data, {"Nats-Msg-Id": new_id("again")})
    await link.close()


async def test_known_inputs_and_results_are_not_logged_again(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(*workload())
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        before = await workload_finished(stack, conversation, mark)
        log = await read_log(stack, conversation.id)
        head = log[-1].commit.head
        said = [e for stored in log for e in stored.commit.events if isinstance(e, ev.UserMessage)]
        calls = [e for stored in log for e in stored.commit.events if isinstance(e, ev.AgentToolUse)]
        bound = next(e for stored in log for e in stored.commit.events if isinstance(e, ev.HandBound))
        await _store_again(stack, conversation.id, ClientInput(id=head.recent[-1], events=list(said)))
        late = [{"type": "text", "text": "too late"}]
        for call in (calls[0].id, calls[-1].id, "sevt_of_nobody"):
            await _store_again(stack, conversation.id, CallResult(id=call, generation=bound.generation, content=late))
        await _store_again(stack, conversation.id, Nudge(id=new_id("ndg")))
        await conversation.say(await stack.model.play(say("Only this is new.")))
        after = await conversation.until_idle()
        await check_invariants(stack, conversation)
        assert [e.id for e in after[: len(before)]] == [e.id for e in before]
        assert [e.type for e in after if e.type == "user.message"] == ["user.message"] * 2
        assert "too late" not in str([e.to_dict(mode="json") for e in after])


async def test_deliveries_may_come_in_any_order_and_several_times(start: Start) -> None:
    stack = start()
    pids = [stack.signal(name, signal.SIGSTOP) for name in ("harness-1", "harness-2")]
    assert len(set(pids)) == 2
    async with stack.client() as client, stack.bus("harness") as bus, intruder(stack, bus) as claims:
        conversation = await Conversation.begin(client)
        for number in range(4):
            await conversation.say(await stack.model.play(say(f"Answer {number}.")))
        waiting = [w.seq for w in await bus.inbox.pending(key(conversation.id))]
        assert len(waiting) == 4
        order = [3, 0, 3, 2, 1, 1, 0, 2]
        forged = [ForgedDelivery(key(conversation.id), waiting[n], count=1 + n % 2) for n in order]
        await asyncio.gather(*(claims.handle(f) for f in forged))
        for name in ("harness-1", "harness-2"):
            stack.signal(name, signal.SIGCONT)
        events = await conversation.until_idle()
        await check_invariants(stack, conversation)
        assert [e.id for e in events if e.type == "user.message"] == conversation.sent
