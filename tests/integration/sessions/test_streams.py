"""Event streams through the official SDK, and byte by byte: G.2 points 30, 32, 39 to 42, and resuming.

No harness runs here: the test writes the log and publishes the deltas that one would.
"""

import asyncio
import contextlib
import json

import anthropic
import httpx
import psutil
import pytest
from anthropic import AsyncAnthropic

from holdfast.bus import events as ev
from holdfast.bus.ids import new_id
from holdfast.bus.tools import SANDBOX
from tests.support.edge import SessionService, session_service
from tests.support.event_stream import Frame, frames, raw, take, text_of
from tests.support.eventually import eventually
from tests.support.session_log import SessionLog


async def test_a_stream_carries_what_is_stored_after_it_was_opened(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    await log.says("before")
    async with await client.beta.sessions.events.stream(session) as stream:
        for n in range(30):
            await log.says(str(n))
        assert [text_of(e) for e in await take(stream.__aiter__(), 30)] == [str(n) for n in range(30)]


async def test_nothing_that_follows_the_answer_is_missed(client: AsyncAnthropic, log: SessionLog, session: str) -> None:
    for n in range(25):
        async with await client.beta.sessions.events.stream(session) as stream:
            said = await log.says(str(n))
            (first,) = await take(stream.__aiter__(), 1)
            assert first.id == said


async def test_each_frame_has_its_name_and_its_position(edge: SessionService, log: SessionLog, session: str) -> None:
    async with raw(edge, session) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["request-id"].startswith("req_")
        assert "content-length" not in answer.headers
        stored = await log.write(
            ev.HandBound(hand=SANDBOX, id=new_id("sevt"), generation="g", worker="w"),
            ev.SessionStatusRunning(id=new_id("sevt")),
            ev.AgentThinking(id=new_id("sevt"), block={"type": "thinking", "thinking": "deep", "signature": "s"}),
        )
        found = await take(frames(answer), 2)
    assert [f.event for f in found] == [f.data["type"] for f in found] == ["session.status_running", "agent.thinking"]
    assert [f.id for f in found] == [f"{stored.seq}-1", f"{stored.seq}-2"]
    assert set(found[1].data) == {"id", "type", "processed_at"}


async def test_the_stream_and_the_list_agree(client: AsyncAnthropic, log: SessionLog, session: str) -> None:
    async with await client.beta.sessions.events.stream(session) as stream:
        await log.asks(custom=1, ask=1)
        await log.running()
        await log.idle()
        streamed = await take(stream.__aiter__(), 10)
    listed = [e async for e in client.beta.sessions.events.list(session)]
    assert [e.to_dict() for e in streamed] == [e.to_dict() for e in listed]


async def test_a_client_resumes_behind_any_position_without_a_gap(
    edge: SessionService, client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    for n in range(4):
        await log.write(
            ev.AgentMessage(id=new_id("sevt"), content=[{"type": "text", "text": f"{n}a"}]),
            ev.AgentMessage(id=new_id("sevt"), content=[{"type": "text", "text": f"{n}b"}]),
        )
    whole: list[Frame] = []
    async with raw(edge, session, "?after=0-0") as answer:
        whole = await take(frames(answer), 8)
    assert [f.data["content"][0]["text"] for f in whole] == ["0a", "0b", "1a", "1b", "2a", "2b", "3a", "3b"]
    for at in range(7):
        rest = [f.data["id"] for f in whole[at + 1 :]]
        for query, headers in (
            (f"?after={whole[at].id}", {}),
            (f"?after={whole[at].data['id']}", {}),
            ("", {"last_event_id": whole[at].id}),
            (f"?after={whole[0].id}", {"last_event_id": whole[at].id}),
        ):
            async with raw(edge, session, query, **headers) as answer:
                assert [f.data["id"] for f in await take(frames(answer), 7 - at)] == rest
    async with await client.beta.sessions.events.stream(session, extra_query={"after": whole[-1].id}) as stream:
        said = await log.says("more")
        (first,) = await take(stream.__aiter__(), 1)
        assert first.id == said


@pytest.mark.parametrize("after", ["999999999-0", "x", "sevt_nothing", "5", "-1-0", "1-0-0"])
async def test_a_position_that_the_session_does_not_have_is_refused(
    client: AsyncAnthropic, session: str, after: str
) -> None:
    with pytest.raises(anthropic.BadRequestError, match="after"):
        await client.beta.sessions.events.stream(session, extra_query={"after": after})
    with pytest.raises(anthropic.BadRequestError, match="Last-Event-ID"):
        await client.beta.sessions.events.stream(session, extra_headers={"Last-Event-ID": after})


async def test_a_stream_ends_with_its_session(client: AsyncAnthropic, log: SessionLog, session: str) -> None:
    await log.says("x")
    async with await client.beta.sessions.events.stream(session) as stream:
        await client.beta.sessions.archive(session)
        async with asyncio.timeout(5):
            assert [e.type async for e in stream] == ["session.thread_status_terminated", "session.status_terminated"]
    async with await client.beta.sessions.events.stream(session) as stream:
        async with asyncio.timeout(5):
            assert [e.type async for e in stream] == [], "nothing will ever come"
    async with await client.beta.sessions.events.stream(session, extra_query={"after": "0-0"}) as stream:
        async with asyncio.timeout(5):
            assert len([e.type async for e in stream]) == 3
    last = [e.id async for e in client.beta.sessions.events.list(session)][-1]
    async with await client.beta.sessions.events.stream(session, extra_query={"after": last}) as stream:
        async with asyncio.timeout(5):
            assert [e.type async for e in stream] == []


async def test_a_silent_stream_shows_signs_of_life(edge: SessionService, session: str) -> None:
    async with raw(edge, session) as answer, asyncio.timeout(15):
        assert (await anext(frames(answer))).event == "ping"


async def test_many_viewers_see_the_same(edge: SessionService, log: SessionLog, session: str) -> None:
    async with contextlib.AsyncExitStack() as opened:
        answers = [await opened.enter_async_context(raw(edge, session)) for _ in range(20)]
        said = [await log.says(str(n)) for n in range(10)]
        for answer in answers:
            assert [f.data["id"] for f in await take(frames(answer), 10)] == said


@pytest.mark.parametrize(
    "query",
    [
        "?event_deltas[]=agent.tool_use",
        "?event_deltas=x",
        "?x=1",
        "?" + "event_deltas[]=agent.message&" * 101,
    ],
)
async def test_a_wrong_query_is_refused(edge: SessionService, session: str, query: str) -> None:
    async with raw(edge, session, query.rstrip("&")) as answer:
        assert answer.status_code == 400
        assert json.loads(await answer.aread())["error"]["type"] == "invalid_request_error"


async def test_a_viewer_that_leaves_is_forgotten(edge: SessionService, log: SessionLog, session: str) -> None:
    async def viewers() -> int:
        """Connections to the service. It forbids inspection, so they are looked for among all of the host."""
        port = httpx.URL(edge.base_url).port
        open_ = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_ESTABLISHED]
        return len([c for c in open_ if c.laddr and c.laddr.port == port])

    before = await viewers()
    async with contextlib.AsyncExitStack() as opened:
        for _ in range(10):
            await opened.enter_async_context(raw(edge, session))
        assert await viewers() >= before + 10
    await log.says("x")

    async def gone() -> bool:
        return await viewers() <= before

    await eventually(gone)


async def test_streams_survive_a_restart_of_the_bus(edge: SessionService, log: SessionLog, session: str) -> None:
    async with raw(edge, session) as answer:
        found = frames(answer)
        first = await log.says("before")
        assert [f.data["id"] for f in await take(found, 1)] == [first]
        await asyncio.to_thread(edge.nats.kill)
        await edge.nats.start()
        second = await log.says("after")
        assert [f.data["id"] for f in await take(found, 1)] == [second]


async def test_streams_end_when_the_service_stops(tmp_path_factory: pytest.TempPathFactory) -> None:
    with session_service(tmp_path_factory.mktemp("own")) as own:
        with own.client() as client:
            session = client.beta.sessions.create(
                agent=client.beta.agents.create(model="m", name="a").id,
                environment_id=client.beta.environments.create(name="e").id,
            ).id
        async with raw(own, session) as answer:
            assert await asyncio.to_thread(own.stop) == 0
            assert [f.event async for f in frames(answer)] == []
