"""Event streams through the official SDK, and byte by byte: G.2 points 30, 32, 39 to 42, resuming, slow readers.

No harness runs here: the test writes the log and the deltas that one would.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

import anthropic
import httpx
import msgspec
import psutil
import pytest
from anthropic import AsyncAnthropic
from anthropic.lib.sessions._accumulate import accumulate_managed_agents_event

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.commands import Delta, Output
from holdfast.bus.ids import new_id
from holdfast.bus.jetstream.client import NatsBus
from tests.support.edge import SessionService, session_service
from tests.support.eventually import eventually
from tests.support.session_log import SessionLog, delta_piece, delta_start

DELTAS = ["agent.message", "agent.thinking"]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    folder = tmp_path_factory.mktemp("edge")
    with session_service(folder, {"HOLDFAST_SESSION_DATA": str(folder / "data")}) as running:
        yield running


@pytest.fixture(scope="module")
def made(edge: SessionService) -> Iterator[dict[str, Any]]:
    with edge.client() as client:
        yield {
            "agent": client.beta.agents.create(model="m-1", name="a").id,
            "environment_id": client.beta.environments.create(name="e").id,
        }


@pytest.fixture
async def client(edge: SessionService) -> AsyncIterator[AsyncAnthropic]:
    async with edge.async_client(max_retries=0) as client:
        yield client


@pytest.fixture
async def bus(edge: SessionService) -> AsyncIterator[NatsBus]:
    async with edge.bus() as bus:
        yield bus


@pytest.fixture
async def session(client: AsyncAnthropic, made: dict[str, Any]) -> str:
    return (await client.beta.sessions.create(**made)).id


@pytest.fixture
async def log(bus: NatsBus, session: str) -> SessionLog:
    return SessionLog(bus, session)


class Frame(msgspec.Struct):
    """One server-sent event as it came over the wire."""

    event: str
    id: str
    data: dict[str, Any]


@contextlib.asynccontextmanager
async def raw(edge: SessionService, session: str, query: str = "", **headers: str) -> AsyncGenerator[httpx.Response]:
    headers = {"authorization": f"Bearer {edge.key}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    async with (
        httpx.AsyncClient(base_url=edge.base_url, headers=headers, timeout=30, trust_env=False) as http,
        http.stream("GET", f"/v1/sessions/{session}/events/stream{query}") as answer,
    ):
        yield answer


async def frames(answer: httpx.Response) -> AsyncIterator[Frame]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif "data" in fields:
            yield Frame(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"]))
            fields = {}


async def take(found: AsyncIterator[Any], count: int) -> list[Any]:
    async with asyncio.timeout(20):
        return [await anext(found) for _ in range(count)]


async def tell(log: SessionLog, *deltas: Delta) -> None:
    await log.bus.core.publish(subjects.delta(log.key), msgspec.json.encode(list(deltas)))


def text_of(event: Any) -> str:
    return event.content[0].text


# --- events -------------------------------------------------------------------------------------------------------


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
            ev.SandboxBound(id=new_id("sevt"), generation="g", worker="w"),
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
        streamed = await take(stream.__aiter__(), 8)
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


# --- deltas -------------------------------------------------------------------------------------------------------


def request_ends(request: str) -> ev.ModelRequestEnd:
    return ev.ModelRequestEnd(id=new_id("sevt"), model_request_start_id=request, model_usage=ev.ModelUsage())


async def test_deltas_come_before_their_event_and_add_up_to_it(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    request, thought, said = new_id("sevt"), new_id("sevt"), new_id("sevt")
    async with await client.beta.sessions.events.stream(session, event_deltas=DELTAS) as stream:  # type: ignore[arg-type]
        found = stream.__aiter__()
        await log.write(ev.ModelRequestStart(id=request))
        await tell(log, delta_start(thought, "agent.thinking", request=request))
        await tell(log, delta_start(said, request=request), delta_piece(said, "Hello"))
        await tell(log, delta_piece(said, ", "), delta_piece(said, "world"))
        await log.write(
            ev.AgentThinking(id=thought, request=request, block={"signature": "s"}),
            ev.AgentMessage(id=said, request=request, content=[{"type": "text", "text": "Hello, world."}]),
            request_ends(request),
        )
        following, other = new_id("sevt"), new_id("sevt")
        await tell(log, delta_start(other, request=following), delta_piece(other, "next"))
        shown: list[Any] = []
        while not shown or shown[-1].type != "span.model_request_end":
            shown += await take(found, 1)
        await tell(log, delta_piece(said, "late"))
        await log.write(ev.ModelRequestStart(id=following))
        assert [e.type for e in await take(found, 3)] == ["span.model_request_start", "event_start", "event_delta"]
    kinds = [e.type for e in shown]
    assert kinds[:3] == ["span.model_request_start", "event_start", "event_start"]
    assert kinds[-3:] == ["agent.thinking", "agent.message", "span.model_request_end"]
    deltas = [e for e in shown if e.type == "event_delta"]
    assert kinds == [*kinds[:3], *["event_delta"] * len(deltas), *kinds[-3:]]
    assert "".join(e.delta.content.text for e in deltas) == "Hello, world"
    assert {e.event_id for e in deltas} == {said}
    snapshot = None
    for e in shown:
        snapshot = accumulate_managed_agents_event(snapshot, e)
        if e.type == "event_delta":
            assert snapshot
            assert "Hello, world.".startswith(text_of(snapshot))
    assert snapshot
    assert (snapshot.id, text_of(snapshot)) == (said, "Hello, world.")
    assert not [e async for e in client.beta.sessions.events.list(session) if e.type.startswith("event_")]


async def test_deltas_never_overtake_the_start_of_their_request(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    async with await client.beta.sessions.events.stream(session, event_deltas=DELTAS) as stream:  # type: ignore[arg-type]
        found = stream.__aiter__()
        for _ in range(30):
            request, said = new_id("sevt"), new_id("sevt")
            await tell(log, delta_start(said), delta_piece(said, "x"))
            await log.write(ev.ModelRequestStart(id=request))
            await log.write(
                ev.AgentMessage(id=said, request=request, content=[{"type": "text", "text": "x"}]),
                request_ends(request),
            )
            assert [e.type for e in await take(found, 5)] == [
                "span.model_request_start",
                "event_start",
                "event_delta",
                "agent.message",
                "span.model_request_end",
            ]


async def test_without_asking_there_are_no_deltas_and_each_kind_is_asked_for(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    request, thought, said = new_id("sevt"), new_id("sevt"), new_id("sevt")
    async with (
        await client.beta.sessions.events.stream(session) as plain,
        await client.beta.sessions.events.stream(session, event_deltas=["agent.thinking"]) as thinking,
    ):
        await log.write(ev.ModelRequestStart(id=request))
        await tell(log, delta_start(thought, "agent.thinking"), delta_start(said), delta_piece(said, "x"))
        await log.says("x", event_id=said)
        assert [e.type for e in await take(plain.__aiter__(), 2)] == ["span.model_request_start", "agent.message"]
        found = await take(thinking.__aiter__(), 3)
        assert [e.type for e in found] == ["span.model_request_start", "event_start", "agent.message"]
        assert found[1].event.id == thought


async def test_a_stream_opened_in_a_response_gets_no_deltas_of_it(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    request, a, b = new_id("sevt"), new_id("sevt"), new_id("sevt")
    await log.write(ev.ModelRequestStart(id=request))
    async with await client.beta.sessions.events.stream(session, event_deltas=DELTAS) as stream:  # type: ignore[arg-type]
        found = stream.__aiter__()
        await tell(log, delta_piece(a, "x"), delta_start(b), delta_piece(b, "y"))
        await log.write(request_ends(request))
        following, c = new_id("sevt"), new_id("sevt")
        await log.write(ev.ModelRequestStart(id=following))
        await tell(log, delta_piece(b, "z"), delta_start(c))
        assert [e.type for e in await take(found, 3)] == [
            "span.model_request_end",
            "span.model_request_start",
            "event_start",
        ]


async def test_a_resumed_stream_shows_history_before_any_delta(
    edge: SessionService, log: SessionLog, session: str
) -> None:
    for n in range(50):
        await log.says(str(n))
    async with raw(edge, session, "?after=0-0&event_deltas[]=agent.message") as answer:
        found = frames(answer)
        assert [f.data["content"][0]["text"] for f in await take(found, 50)] == [str(n) for n in range(50)]
        request, said = new_id("sevt"), new_id("sevt")
        await log.write(ev.ModelRequestStart(id=request))
        await tell(log, delta_start(said), delta_piece(said, "now"))
        assert [f.event for f in await take(found, 3)] == ["span.model_request_start", "event_start", "event_delta"]


@pytest.mark.parametrize("query", ["", "after=0-0", "after=tip"])
async def test_a_stream_opened_before_the_first_delta_of_a_request_shows_them_all(
    edge: SessionService, log: SessionLog, session: str, query: str
) -> None:
    """However it is opened: from now on, from the beginning, behind the last event."""
    request, said = new_id("sevt"), new_id("sevt")
    await log.says("before")
    tip = await log.write(ev.ModelRequestStart(id=request))
    query = query.replace("tip", f"{tip.seq}-0")
    async with raw(edge, session, f"?{query}&event_deltas[]=agent.message") as answer:
        found = frames(answer)
        await tell(log, delta_start(said, request=request), delta_piece(said, "x"), delta_piece(said, "y"))
        kinds = [f.event for f in await take(found, 4 if query == "after=0-0" else 2)]
        assert kinds[-2:] == ["event_start", "event_delta"]


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


# --- slow readers and lost connections ------------------------------------------------------------------------------


async def test_a_reader_that_falls_far_behind_misses_no_event(
    edge: SessionService, log: SessionLog, session: str
) -> None:
    async with raw(edge, session, "?event_deltas[]=agent.message") as answer:
        said: list[str] = []
        await log.write(ev.ModelRequestStart(id=new_id("sevt")))
        for n in range(300):
            ids = [new_id("sevt") for _ in range(20)]
            await tell(log, *(delta_start(i) for i in ids), *(delta_piece(i, "x" * 500) for i in ids))
            await log.write(
                *(ev.AgentMessage(id=i, content=[{"type": "text", "text": str(n) + "y" * 5000}]) for i in ids)
            )
            said += ids
        found = frames(answer)
        shown: list[str] = []
        pieces = 0
        async with asyncio.timeout(30):
            async for frame in found:
                if frame.event == "event_delta":
                    pieces += 1
                    assert frame.data["event_id"] not in shown, "no delta behind its event"
                elif frame.event == "agent.message":
                    shown.append(frame.data["id"])
                if len(shown) == len(said):
                    break
        assert shown == said
        assert 0 < pieces < len(said), "deltas are dropped first"
        request, fresh = new_id("sevt"), new_id("sevt")
        await log.write(ev.ModelRequestStart(id=request))
        await tell(log, delta_start(fresh), delta_piece(fresh, "x"))
        assert [f.event for f in await take(found, 3)] == ["span.model_request_start", "event_start", "event_delta"]


async def test_the_output_of_tools_is_shown_and_dropped_first(
    edge: SessionService, log: SessionLog, session: str
) -> None:
    """A reader that does not read while calls print 40 MB misses output, but no event, and what it sees is a prefix."""
    async with raw(edge, session, "?event_deltas[]=agent.tool_result") as answer:
        calls: list[str] = []
        for _ in range(100):
            call = ev.AgentToolUse(id=new_id("sevt"), name="bash", input={"command": "x" * 5000})
            await log.write(call)
            for n in range(20):
                printed = Output(call.id, f"{n:02}" * 10_000, at=n * 20_000)
                await log.bus.core.publish(subjects.output(log.key), msgspec.json.encode(printed))
            await log.write(ev.AgentToolResult(id=new_id("sevt"), tool_use_id=call.id))
            calls.append(call.id)
        shown = dict.fromkeys(calls, "")
        order: list[str] = []
        async with asyncio.timeout(60):
            async for frame in frames(answer):
                if frame.event == "event_delta":
                    assert f"result of {frame.data['event_id']}" not in order
                    shown[frame.data["event_id"]] += frame.data["delta"]["content"]["text"]
                elif frame.event == "agent.tool_use":
                    order.append(f"use of {frame.data['id']}")
                elif frame.event == "agent.tool_result":
                    order.append(f"result of {frame.data['tool_use_id']}")
                if len(order) == 200:
                    break
    assert order == [f"{what} of {call}" for call in calls for what in ("use", "result")]
    whole = "".join(f"{n:02}" * 10_000 for n in range(20))
    assert all(whole.startswith(text) for text in shown.values())
    assert 0 < sum(map(len, shown.values())) < 100 * len(whole)


async def test_a_viewer_that_leaves_is_forgotten(edge: SessionService, log: SessionLog, session: str) -> None:
    async def viewers() -> int:
        """Connections that the service holds."""
        service = psutil.Process(edge.pid)
        return len([c for c in service.net_connections() if c.status == psutil.CONN_ESTABLISHED])

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
