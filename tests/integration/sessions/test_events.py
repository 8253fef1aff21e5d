"""Sending and listing events through the official SDK: G.2 points 33, 34, 37, 50, 51, and long logs.

No harness runs here: the test writes the log that one would.
"""

import itertools
import time
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from holdfast.bus import events as ev
from holdfast.bus import streams
from holdfast.bus.ids import Key, new_id
from holdfast.bus.inputs import ClientInput
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.tools import SANDBOX
from tests.support.edge import SessionService, envelope
from tests.support.session_log import SessionLog
from tests.support.session_requests import SAY, list_events


async def send(client: AsyncAnthropic, session: str, *events: Any) -> list[Any]:
    return (await client.beta.sessions.events.send(session, events=events)).data or []


async def refused(client: AsyncAnthropic, session: str, *events: Any) -> str:
    with pytest.raises(anthropic.BadRequestError) as caught:
        await send(client, session, *events)
    assert caught.value.type == "invalid_request_error"
    return caught.value.message


def allow(call: str, **more: Any) -> dict[str, Any]:
    return {"type": "user.tool_confirmation", "tool_use_id": call, "result": "allow", **more}


def result(call: str) -> dict[str, Any]:
    return {
        "type": "user.custom_tool_result",
        "custom_tool_use_id": call,
        "content": [{"type": "text", "text": "42"}],
    }


# --- send ---------------------------------------------------------------------------------------------------------


async def test_a_full_inbox_is_429_that_says_what_to_do(edge: SessionService, bus: NatsBus, session: str) -> None:
    stream = streams.inbox_stream()
    config = next(c for c in streams.stream_configs() if c["name"] == stream)
    client = bus._client
    try:
        answer = await client.api(f"STREAM.UPDATE.{stream}", {**config, "max_msgs_per_subject": 1})
        assert "error" not in answer
        with edge.http() as http:
            path = f"/v1/sessions/{session}/events"
            assert http.post(path, json={"events": [SAY]}).status_code == 200
            response = http.post(path, json={"events": [SAY]})
    finally:
        await client.api(f"STREAM.UPDATE.{stream}", config)
    assert envelope(response, 429, "rate_limit_error").startswith("too many events of this session wait")
    assert response.json()["error"]["details"] == {"error_code": "inbox_full"}
    assert response.headers["retry-after"] == "5"
    assert len(await bus.inbox.pending(Key("default", session))) == 1


async def test_what_is_sent_is_stored_whole_in_one_input_with_its_final_ids(
    client: AsyncAnthropic, bus: NatsBus, session: str
) -> None:
    sent = await send(client, session, SAY, {"type": "user.interrupt"}, SAY)
    assert [e.type for e in sent] == ["user.message", "user.interrupt", "user.message"]
    assert all(e.processed_at is None for e in sent)
    assert len({e.id for e in sent}) == 3
    (waiting,) = await bus.inbox.pending(Key("default", session))
    assert isinstance(waiting.input, ClientInput)
    assert [e.id for e in waiting.input.events] == [e.id for e in sent]
    assert (await client.beta.sessions.retrieve(session)).status == "running"


async def test_what_was_sent_shows_under_its_id_when_it_is_taken(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    (sent,) = await send(client, session, SAY)
    (queued,) = await list_events(client, session)
    assert queued == sent
    assert await log.takes(1) == [sent.id]
    (found,) = await list_events(client, session)
    assert found.id == sent.id
    assert found.processed_at is not None
    assert found.content == sent.content


async def test_a_refused_event_refuses_the_whole_request(client: AsyncAnthropic, bus: NatsBus, session: str) -> None:
    assert "events[1].content[0].text" in await refused(
        client, session, SAY, {"type": "user.message", "content": [{"type": "text", "text": ""}]}
    )
    assert "at least one event" in await refused(client, session)
    assert "user.define_outcome events are not available" in await refused(
        client,
        session,
        SAY,
        {"type": "user.define_outcome", "description": "d", "rubric": {"type": "text", "content": "r"}},
    )
    assert "no open tool call" in await refused(client, session, SAY, allow("sevt_nothing"))
    assert await bus.inbox.pending(Key("default", session)) == []
    assert (await client.beta.sessions.retrieve(session)).status == "idle"


def test_text_that_no_log_can_hold_is_refused(edge: SessionService, session: str) -> None:
    texts = [b'"a\\u0000b"', b'"\\ud800"', b'"\xed\xa0\x80"', b'"\xff"', b'"\\udc00\\ud800"']
    with edge.http() as http:
        for text in texts:
            body = b'{"events":[{"type":"user.message","content":[{"type":"text","text":%b}]}]}' % text
            answer = http.post(f"/v1/sessions/{session}/events", content=body)
            assert answer.status_code == 400, (text, answer.text)
        for body in (b"", b"[]", b"{}", b'{"events":{}}', b'{"events":[1]}', b'{"events":[],"x":1}', b"{" * 100_000):
            assert http.post(f"/v1/sessions/{session}/events", content=body).status_code == 400, body[:20]


async def test_a_call_is_confirmed_once(client: AsyncAnthropic, log: SessionLog, session: str) -> None:
    mine, first, second = await log.asks(custom=1, ask=2)
    assert "not waiting" in await refused(client, session, allow(mine))
    assert "deny_message" in await refused(client, session, allow(first, deny_message="no"))
    assert "events[1]" in await refused(client, session, allow(first), allow(first))
    (sent,) = await send(client, session, allow(first))
    assert sent.processed_at is None
    assert sent.deny_message is None
    assert "not waiting" in await refused(client, session, allow(first)), "the first still waits in the inbox"
    deny = allow(second, result="deny", deny_message="never")
    await send(client, session, deny)
    assert "not waiting" in await refused(client, session, deny)
    for waiting in await log.bus.inbox.pending(log.key):
        assert isinstance(waiting.input, ClientInput)
        await log.write(*waiting.input.events)
    assert "tool_use_id" in await refused(client, session, allow(first)), "and now it is in the log"


async def test_a_custom_result_may_come_again_but_not_for_a_call_that_never_was(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    mine, asked = await log.asks(custom=1, ask=1)
    assert "not answered by the client" in await refused(client, session, result(asked))
    assert "no custom tool call" in await refused(client, session, result("sevt_nothing"))
    (first,) = await send(client, session, result(mine))
    assert first.processed_at is not None, "it counts as processed on receipt"
    (second,) = await send(client, session, result(mine))
    assert first.id != second.id
    for waiting in await log.bus.inbox.pending(log.key):
        assert isinstance(waiting.input, ClientInput)
        await log.write(*waiting.input.events)
    await send(client, session, result(mine))
    assert "no custom tool call" in await refused(client, session, result(asked.replace("sevt", "sevt_x")))


async def test_an_interrupt_names_the_primary_thread_or_none(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    last = await log.bus.log.head(log.key)
    assert last
    config = last.commit.events[0]
    assert isinstance(config, ev.SessionConfig)
    (sent,) = await send(client, session, {"type": "user.interrupt", "session_thread_id": config.primary_thread})
    assert sent.session_thread_id == config.primary_thread
    assert "no such thread" in await refused(
        client, session, {"type": "user.interrupt", "session_thread_id": "sthr_other"}
    )


async def test_large_events_go_through(client: AsyncAnthropic, log: SessionLog, session: str) -> None:
    text = "x" * 3_000_000
    await send(client, session, {"type": "user.message", "content": [{"type": "text", "text": text}]})
    (queued,) = await list_events(client, session)
    assert queued.content[0].text == text
    await log.takes(1)
    (found,) = await list_events(client, session)
    assert found.content[0].text == text


# --- list ---------------------------------------------------------------------------------------------------------


async def test_lists_go_both_ways_by_type_and_by_time(client: AsyncAnthropic, log: SessionLog, session: str) -> None:
    await log.running()
    for n in range(5):
        await log.write(
            ev.HandBound(hand=SANDBOX, id=new_id("sevt"), generation=f"g{n}", worker="w"),
            ev.ModelRequestStart(id=new_id("sevt")),
            ev.AgentMessage(id=new_id("sevt"), content=[{"type": "text", "text": str(n)}]),
        )
    await log.idle()
    whole = await list_events(client, session)
    assert [e.type for e in whole][:3] == [
        "session.status_running",
        "session.thread_status_running",
        "span.model_request_start",
    ]
    assert len(whole) == 14
    assert all(a.processed_at < b.processed_at for a, b in itertools.pairwise(whole))
    for limit in (1, 2, 5, 1000):
        assert await list_events(client, session, limit=limit) == whole
        assert await list_events(client, session, limit=limit, order="desc") == whole[::-1]
        messages = await list_events(client, session, limit=limit, types=["agent.message"], order="desc")
        assert [e.content[0].text for e in messages] == ["4", "3", "2", "1", "0"]
    assert len(await list_events(client, session, types=["agent.message", "session.status_idle"])) == 6
    assert await list_events(client, session, types=["workflow_run.created"]) == []
    at = whole[5].processed_at
    for order in ("asc", "desc"):
        way = slice(None) if order == "asc" else slice(None, None, -1)
        for limit in (2, 1000):
            more: dict[str, Any] = {"order": order, "limit": limit}
            assert await list_events(client, session, created_at_gt=at, **more) == whole[6:][way]
            assert await list_events(client, session, created_at_gte=at, **more) == whole[5:][way]
            assert await list_events(client, session, created_at_lt=at, **more) == whole[:5][way]
            assert await list_events(client, session, created_at_lte=at, **more) == whole[:6][way]
            between = {"created_at_gte": whole[3].processed_at, "created_at_lt": whole[9].processed_at}
            assert await list_events(client, session, **between, **more) == whole[3:9][way]


async def test_a_cursor_belongs_to_one_list(client: AsyncAnthropic, log: SessionLog, session: str) -> None:
    for n in range(3):
        await log.says(str(n))
    page = await client.beta.sessions.events.list(session, limit=1)
    cursor = page.next_page or ""
    assert len((await client.beta.sessions.events.list(session, limit=2, page=cursor)).data) == 2
    for other in ({"order": "desc"}, {"types": ["agent.message"]}, {"created_at_gt": "2020-01-01T00:00:00Z"}):
        with pytest.raises(anthropic.BadRequestError, match="page"):
            await client.beta.sessions.events.list(session, page=cursor, **other)  # type: ignore[arg-type]
    for bad in ("page_x", "x", "page_" + "A" * 5000):
        with pytest.raises(anthropic.BadRequestError, match="page"):
            await client.beta.sessions.events.list(session, page=bad)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "order=up", "types[]=agent.mesage", "created_at[gt]=x", "what=1"]
)
def test_a_wrong_filter_is_refused(edge: SessionService, session: str, query: str) -> None:
    with edge.http() as http:
        assert http.get(f"/v1/sessions/{session}/events?{query}").status_code == 400


def test_the_synchronous_client_reads_the_same(sync: Anthropic, agent: str, environment: str) -> None:
    session = sync.beta.sessions.create(agent=agent, environment_id=environment).id
    sync.beta.sessions.update(session, title="one")
    sync.beta.sessions.update(session, title="two")
    assert [e.type for e in sync.beta.sessions.events.list(session, limit=1)] == ["session.updated"] * 2


async def test_the_newest_events_of_a_long_log_are_found_without_reading_it(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    last = None
    for n in range(1200):
        last = await log.write(
            *(
                ev.AgentMessage(id=new_id("sevt"), content=[{"type": "text", "text": f"{n}.{m}" + "x" * 2000}])
                for m in range(5)
            )
        )
    assert last
    newest = await client.beta.sessions.events.list(session, order="desc", limit=20)
    assert newest.data[0].content[0].text.startswith("1199.4")  # type: ignore[union-attr]
    begin = time.perf_counter()
    for _ in range(5):
        await client.beta.sessions.events.list(session, order="desc", limit=20)
    few = (time.perf_counter() - begin) / 5
    begin = time.perf_counter()
    backwards = await list_events(client, session, order="desc")
    whole = time.perf_counter() - begin
    assert [e.content[0].text.split("x")[0] for e in backwards] == [
        f"{n}.{m}" for n in range(1199, -1, -1) for m in range(4, -1, -1)
    ]
    assert backwards == (await list_events(client, session))[::-1]
    assert few < whole / 5, (few, whole)
    at = backwards[100].processed_at
    assert [e.id for e in await list_events(client, session, created_at_gt=at)] == [e.id for e in backwards[:100]][::-1]
