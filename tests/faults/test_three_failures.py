"""A dead sandbox, a dead harness, a fault of ours: each moves its own metric and has its own line in the log."""

import json
import time
from typing import Any

from holdfast.bus import events as ev
from holdfast.bus.commits import commit
from holdfast.bus.ids import new_id, new_session_id
from holdfast.bus.inputs import ClientInput
from holdfast.process import metrics
from holdfast.process.model_catalogue import load_catalogue
from tests.faults.conftest import Start
from tests.support.conversation import MODEL, Conversation
from tests.support.eventually import eventually
from tests.support.metered import scrape, total
from tests.support.model import bash, say
from tests.support.processes import descendants, running
from tests.support.stack import Stack, key
from tests.unit.harness.heads import CONFIG

FAILURES = (metrics.BUGS, metrics.LOST_SANDBOXES, metrics.TAKEOVERS)
SLEEP = "sleep 3456.7"


async def shown(stack: Stack) -> dict[str, dict[str, float]]:
    return await scrape(stack.run.health.values())


async def counted(stack: Stack) -> list[float]:
    """The three failures, of which each kill below may raise one."""
    samples = await shown(stack)
    return [total(samples, metric) for metric in FAILURES]


def lines(stack: Stack, field: str, value: str) -> list[dict[str, Any]]:
    """The lines of the logs of all services with that field."""
    logs = [file.read_text() for file in sorted((stack.data / "logs").glob("*.log"))]
    read = [json.loads(line) for log in logs for line in log.splitlines() if line.startswith("{")]
    return [line for line in read if line.get(field) == value]


async def one_good_turn(stack: Stack, conversation: Conversation) -> None:
    mark = await stack.model.play(bash("echo hello"), say("Done."))
    stream = await conversation.client.beta.sessions.events.stream(conversation.id, event_deltas=["agent.message"])
    async with stream:
        await conversation.say(mark)
        async for event in stream:
            if event.type == "session.status_idle":
                break


async def check_good_turn(stack: Stack, conversation: Conversation) -> None:
    """What a turn with one tool call and two model requests leaves in the metrics of all processes."""
    session = await conversation.client.beta.sessions.retrieve(conversation.id)
    samples = await shown(stack)
    counts = {
        metrics.MODEL_DURATION: 2, metrics.FIRST_CHUNK: 2, metrics.TURN_DURATION: 1, metrics.TURN_QUEUE: 1,
        metrics.TOOL_DURATION: 1, metrics.FIRST_TOKEN: 1, metrics.TOKEN_USAGE: 4,
    }  # fmt: skip
    assert {metric.name: total(samples, metric, "_count") for metric in counts} == {
        m.name: n for m, n in counts.items()
    }
    usage, price = session.usage, load_catalogue().facts(MODEL).price
    assert usage is not None
    assert usage.input_tokens
    assert price is not None
    read, wrote = usage.cache_read_input_tokens or 0, samples["gen_ai_client_token_usage_sum"]
    assert sum(v for k, v in wrote.items() if "gen_ai_token_type=output" in k) == usage.output_tokens
    cost = price.of(
        input=usage.input_tokens or 0, output=usage.output_tokens or 0, cache_read=read,
        cache_write=(usage.cache_creation.ephemeral_5m_input_tokens or 0) if usage.cache_creation else 0,
    )  # fmt: skip
    assert abs(total(samples, metrics.MODEL_COST) - cost) < 1e-9
    assert 0 < total(samples, metrics.FIRST_TOKEN, "_sum") < 20
    assert total(samples, metrics.SANDBOXES) == 1
    assert total(samples, metrics.SANDBOX_START, "_count") >= 1
    for metric in (metrics.HTTP_DURATION, metrics.BUS_DURATION, metrics.BUS_ROUND_TRIP):
        assert total(samples, metric, "_count") > 0, metric.name
    assert "http_route=/v1/sessions/{session_id}/events" in "".join(samples["http_server_request_duration_seconds_sum"])
    for metric in (
        metrics.INBOX_DEPTH,
        metrics.INBOX_AGE,
        metrics.PARKED,
        metrics.LOG_LAG,
        metrics.STREAMS,
        metrics.TASKS_STORED,
        metrics.TASKS_OPEN,
    ):
        assert metrics.prometheus_name(metric) in samples, metric.name
    assert not [labels for series in samples.values() for labels in series if conversation.id in labels]


async def kill_the_sandbox(stack: Stack, conversation: Conversation) -> None:
    await conversation.say(await stack.model.play(bash(SLEEP), say("Over.")))
    await eventually(lambda: running(SLEEP), what="the command")
    descendants(stack.pid("sandbox"), "bwrap")[0].kill()
    await conversation.until_idle()


async def kill_the_harness(stack: Stack, conversation: Conversation) -> None:
    mark = await stack.model.play(say("Late.", gates=[{"name": "late", "after": -1}]))
    await conversation.say(mark)
    await stack.model.reached("late")
    owner = await stack.driver(conversation.id)
    killed = stack.kill(owner)
    await stack.model.release("late")
    await conversation.until_idle()
    await stack.replaced(owner, killed)


async def send_what_a_harness_cannot_handle(stack: Stack) -> str:
    """A session whose agent has no model, as no release has ever written: an exception that no rule expects."""
    session = new_session_id()
    agent = {name: value for name, value in CONFIG.agent.items() if name != "model"}
    broken = ev.SessionConfig(**{**{f: getattr(CONFIG, f) for f in CONFIG.__struct_fields__}, "agent": agent})
    message = ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": "Hello"}])
    async with stack.bus("session") as bus:
        first = commit(None, [broken], by="test", new_id=new_id, now=time.time_ns() // 1000)
        await bus.log.append(key(session), first, 0)
        await bus.inbox.put(key(session), ClientInput(id=new_id("inp"), events=[message]))
    return session


async def test_three_failures_look_different(start: Start) -> None:
    stack = start(environ={"OTEL_METRICS_EXPORTER": "prometheus"})
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await one_good_turn(stack, conversation)
        await check_good_turn(stack, conversation)
        assert await counted(stack) == [0, 0, 0]

        await kill_the_sandbox(stack, conversation)
        assert await counted(stack) == [0, 1, 0]
        (lost,) = lines(stack, "failure", "sandbox_lost")
        assert (lost["event"], lost["session"], len(lost["calls"])) == ("sandbox.lost", conversation.id, 1)

        await kill_the_harness(stack, conversation)
        bugs, _, takeovers = await counted(stack)
        assert (bugs, takeovers) == (0, 1)
        (taken,) = lines(stack, "event", "claim.taken_over")
        assert taken["session"] == conversation.id
        assert not lines(stack, "failure", "bug")

        session = await send_what_a_harness_cannot_handle(stack)
        await eventually(lambda: _is_counted(stack, metrics.BUGS), what="the bug")
        (line,) = lines(stack, "failure", "bug")[:1]
        assert (line["event"], line["session"]) == ("delivery.failed", session)
        assert ".py:" in line["exception"]
        _, sandboxes, takeovers = await counted(stack)
        assert (sandboxes <= 1, takeovers) == (True, 1)


async def _is_counted(stack: Stack, metric: metrics.Metric) -> bool:
    return total(await shown(stack), metric) >= 1
