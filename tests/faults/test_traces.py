"""One trace from the caller's span to the tool call, against a real collector; also when its harness is killed."""

import secrets

import pytest
from anthropic import AuthenticationError, NotFoundError

from tests.faults.conftest import Start
from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.model import bash, say
from tests.support.otlp_sink import SeenSpan, Sink, otlp_sink
from tests.support.processes import descendants, running
from tests.support.stack import Stack

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SLEEP = "sleep 4567.8"


def environ(sink: Sink) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    }  # fmt: skip


async def say_in_trace(conversation: Conversation, mark: str, trace: str, *, flags: str = "00") -> None:
    """As the SDK does under a span of its own. The caller has not sampled it, which is not for it to decide."""
    headers = {"traceparent": f"00-{trace}-{CALLER}-{flags}", "baggage": "note=canary-baggage"}
    await conversation.client.beta.sessions.events.send(
        conversation.id,
        events=[{"type": "user.message", "content": [{"type": "text", "text": f"[play:{mark}]"}]}],
        extra_headers=headers,
    )


async def spans_of(sink: Sink, trace: str, *names: str) -> list[SeenSpan]:
    """The spans of that trace, as soon as one of each name is there."""

    async def look() -> list[SeenSpan]:
        found = [span for span in sink.spans() if span.trace == trace]
        return found if all(any(s.name.startswith(name) for s in found) for name in names) else []

    return await eventually(look, what=f"{names} in the trace", within=20)


def one(found: list[SeenSpan], name: str) -> SeenSpan:
    (span,) = [span for span in found if span.name.startswith(name)]
    return span


async def check_one_trace(stack: Stack, sink: Sink, conversation: Conversation) -> None:
    secret = f"canary{secrets.token_hex(8)}"
    mark = await stack.model.play(bash(f"echo {secret}", text=secret), say(secret))
    await say_in_trace(conversation, mark, TRACE)
    await conversation.until_idle()
    found = await spans_of(sink, TRACE, "anthropic.sessions.events.send", "invoke_agent", "chat", "execute_tool")
    request, turn, tool = (one(found, name) for name in ("anthropic.", "invoke_agent", "execute_tool bash"))
    chats = [span for span in found if span.name.startswith("chat ")]
    assert (request.service, request.parent, request.kind) == ("session", CALLER, 2)
    assert (turn.service, turn.parent) == ("harness", request.id)
    assert turn.links == [(TRACE, request.id, {"holdfast.link": "caused_by"})]
    assert (tool.service, tool.parent, tool.status) == ("sandbox", turn.id, 0)
    assert [(chat.service, chat.parent, chat.kind) for chat in chats] == [("harness", turn.id, 3)] * 2
    assert turn.attributes["holdfast.stop_reason"] == "end_turn"
    assert {s.attributes["gen_ai.conversation.id"] for s in (turn, tool, *chats)} == {conversation.id}
    assert turn.began_ns <= chats[0].began_ns <= chats[0].ended_ns <= tool.ended_ns <= turn.ended_ns
    usage = (await conversation.client.beta.sessions.retrieve(conversation.id)).usage
    assert usage is not None
    assert sum(chat.attributes["gen_ai.usage.output_tokens"] for chat in chats) == usage.output_tokens
    for word in (secret, "canary-baggage", stack.run.api_key, stack.model_key):
        assert word.encode() not in sink.raw, word
    for record in await stack.model.requests(mark):
        assert TRACE not in str(record.body), "the model is told nothing of the trace"


async def kill_the_harness(stack: Stack, sink: Sink, conversation: Conversation) -> None:
    trace = secrets.token_hex(16)
    mark = await stack.model.play(bash("echo hi"), say("Late.", gates=[{"name": "late", "after": -1}]))
    await say_in_trace(conversation, mark, trace, flags="01")
    await stack.model.reached("late")
    await spans_of(sink, trace, "chat", "execute_tool")  # those of the first harness have been sent
    owner = await stack.driver(conversation.id)
    killed = stack.kill(owner)
    await stack.model.release("late")
    await conversation.until_idle()
    found = await spans_of(sink, trace, "invoke_agent")
    turn = one(found, "invoke_agent")
    earlier = turn.events["holdfast.taken_over"]["holdfast.earlier_harness"]
    assert earlier.startswith(owner)
    assert turn.attributes["holdfast.takeovers"] == 1
    children = [span for span in found if span.name.startswith(("chat", "execute_tool"))]
    assert {span.parent for span in children} == {turn.id}, "spans of both harnesses hang below it"
    assert turn.began_ns <= min(span.began_ns for span in children), "it begins with the first harness"
    await stack.replaced(owner, killed)


async def kill_the_sandbox(stack: Stack, sink: Sink, conversation: Conversation) -> None:
    trace = secrets.token_hex(16)
    await say_in_trace(conversation, await stack.model.play(bash(SLEEP), say("Over.")), trace)
    await eventually(lambda: running(SLEEP), what="the command")
    descendants(stack.pid("sandbox"), "bwrap")[0].kill()
    await conversation.until_idle()
    found = await spans_of(sink, trace, "invoke_agent", "execute_tool")
    for name in ("invoke_agent", "execute_tool"):
        span = one(found, name)
        assert (span.status, span.attributes["error.type"]) == (2, "holdfast.sandbox_lost"), name


async def check_the_vault(sink: Sink, conversation: Conversation) -> None:
    """A request that needs the vault has a span there, also one that fails, and nothing of what was sent."""
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{CALLER}-01"}
    vaults = conversation.client.beta.vaults
    await vaults.create(display_name="canary-vault-name", extra_headers=headers)
    with pytest.raises(NotFoundError):
        await vaults.retrieve("vlt_canary0unknown", extra_headers=headers)
    found = await spans_of(
        sink, trace, "anthropic.vaults.create", "vault vaults.create", "anthropic.vaults.retrieve", "vault vaults.retr"
    )
    for name, error in (("vaults.create", None), ("vaults.retrieve", "Missing")):
        request, asked = one(found, f"anthropic.{name}"), one(found, f"vault {name}")
        assert (asked.service, asked.parent, asked.kind) == ("vault", request.id, 2)
        assert (asked.attributes.get("error.type"), asked.status) == (error, 2 if error else 0)
    assert b"canary-vault-name" not in sink.raw


async def check_strangers(stack: Stack, sink: Sink, conversation: Conversation) -> None:
    """Without a valid key nobody may put a span into a trace of his choice."""
    trace = secrets.token_hex(16)
    wrong = conversation.client.with_options(api_key="hf_wrong", max_retries=0)
    headers = {"traceparent": f"00-{trace}-{CALLER}-01"}
    with pytest.raises(AuthenticationError):
        await wrong.beta.sessions.retrieve(conversation.id, extra_headers=headers)

    async def linked() -> list[SeenSpan]:
        return [span for span in sink.spans() if (trace, CALLER) in [link[:2] for link in span.links]]

    (span,) = await eventually(linked, what="the refused request", within=20)
    assert span.trace != trace
    assert span.parent == ""
    assert span.attributes["http.response.status_code"] == 401


async def test_one_trace_and_what_happens_to_it(start: Start) -> None:
    with otlp_sink() as sink:
        stack = start(environ=environ(sink))
        async with stack.client() as client:
            conversation = await Conversation.begin(client)
            await check_one_trace(stack, sink, conversation)
            await kill_the_harness(stack, sink, conversation)
            await kill_the_sandbox(stack, sink, conversation)
            await check_the_vault(sink, conversation)
            await check_strangers(stack, sink, conversation)
        assert not [span.name for span in sink.spans() if span.ended_ns - span.began_ns > 900e9]
        assert {"gen_ai.client.operation.duration", "holdfast.inbox.depth"} <= sink.metrics
