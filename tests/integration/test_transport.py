"""The HTTP edge as any client meets it: G.2 points 2 to 7 of the conformance list, and bad input."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import anthropic
import httpx
import pytest

from holdfast.process.api_keys import new_api_key
from holdfast.session.http import api_keys
from tests.support.edge import SessionService, envelope, replica, session_service
from tests.support.eventually import eventually

LIMIT = 32 * 1024 * 1024


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    with session_service(tmp_path_factory.mktemp("edge")) as running:
        yield running


# --- 1: who is calling ---------------------------------------------------------------------------------------------


# --- 2, 3, 4: answers ----------------------------------------------------------------------------------------------


def test_every_answer_has_a_request_id_and_an_unknown_id_is_not_found(edge: SessionService) -> None:
    client = edge.client()
    raw = client.beta.agents.with_raw_response.list()
    assert raw.headers["request-id"].startswith("req_")
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.beta.agents.retrieve("agent_nope")
    assert missing.value.request_id
    assert missing.value.type == "not_found_error"
    for odd in ("a.b", "a>", "*", "%2e%2e%2fx", "é", "x" * 300, "a%00b"):
        with edge.http() as http:
            envelope(http.get(f"/v1/agents/{odd}"), 404, "not_found_error")


def test_a_post_without_a_body_needs_no_content_type(edge: SessionService) -> None:
    agent = edge.client().beta.agents.create(model="m", name="n")
    with edge.http() as http:
        request = http.build_request("POST", f"/v1/agents/{agent.id}/archive")
        assert "content-type" not in request.headers
        assert http.send(request).status_code == 200
        # A body is read as strictly as elsewhere.
        envelope(http.post(f"/v1/agents/{agent.id}/archive", json={"x": 1}), 400, "invalid_request_error")
        assert http.post(f"/v1/agents/{agent.id}/archive", json={}).status_code == 200


def test_a_conflict_costs_the_client_one_request(edge: SessionService) -> None:
    sent: list[str] = []
    http = anthropic.DefaultHttpxClient(event_hooks={"request": [lambda request: sent.append(str(request.url))]})
    client = edge.client(http_client=http)
    client.beta.environments.create(name="taken once")
    sent.clear()
    with pytest.raises(anthropic.ConflictError):
        client.beta.environments.create(name="taken once")
    assert len(sent) == 1


# --- 5, 6: lists ---------------------------------------------------------------------------------------------------


async def test_pages_hold_every_agent_once_newest_first(edge: SessionService) -> None:
    key = new_api_key()
    async with edge.bus() as bus:
        await api_keys.install(bus.kv, key, tenant="pages", name="test", now=0)
    client = edge.client(api_key=key)
    made = [client.beta.agents.create(model="m", name=f"n{i}").id for i in range(25)]
    first = client.beta.agents.list(limit=10)
    assert len(first.data) == 10
    assert [agent.id for agent in first] == made[::-1]
    assert len(client.beta.agents.list().data) == 20


def test_a_cursor_belongs_to_its_list_and_filters(edge: SessionService) -> None:
    client = edge.client()
    for i in range(3):
        client.beta.agents.create(model="m", name=f"cursor {i}")
        client.beta.environments.create(name=f"cursor {i}")
    page = client.beta.agents.list(limit=1).next_page
    assert page
    assert client.beta.agents.list(limit=2, page=page).data
    for wrong in ("nonsense", "page_", "page_AAAA", page[:-3], page + "A", page.replace("page_", "")):
        with pytest.raises(anthropic.BadRequestError):
            client.beta.agents.list(page=wrong)
    with pytest.raises(anthropic.BadRequestError):
        client.beta.agents.list(page=page, include_archived=True)
    with pytest.raises(anthropic.BadRequestError):
        client.beta.environments.list(page=page)


def test_a_bad_limit_or_an_unknown_filter_is_refused(edge: SessionService) -> None:
    with edge.http() as http:
        queries = ("limit=0", "limit=101", "limit=x", "limit=1&limit=2", "colour=red", "created_at[gte]=soon")
        for query in (*queries, "include_archived=maybe", "created_at[lt]=2026-01-01", "limit="):
            envelope(http.get(f"/v1/agents?{query}"), 400, "invalid_request_error")
        assert http.get("/v1/agents?beta=true&limit=1").status_code == 200  # older SDKs send it everywhere


def test_times_filter_in_bracket_form(edge: SessionService) -> None:
    client = edge.client()
    older = client.beta.agents.create(model="m", name="older")
    newer = client.beta.agents.create(model="m", name="newer")
    assert [agent.id for agent in client.beta.agents.list(created_at_gte=newer.created_at)] == [newer.id]
    until = {agent.id for agent in client.beta.agents.list(created_at_lte=older.created_at)}
    assert older.id in until
    assert newer.id not in until
    with edge.http() as http:
        stamp = newer.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        found = http.get(f"/v1/agents?created_at[gte]={stamp}").json()["data"]
        assert [agent["id"] for agent in found] == [newer.id]
        assert found[0]["created_at"] == stamp
    assert client.beta.agents.list(created_at_gte=datetime(2100, 1, 1, tzinfo=UTC)).data == []


# --- 7 and bodies --------------------------------------------------------------------------------------------------


def test_a_body_over_the_limit_is_413(edge: SessionService) -> None:
    client = edge.client(max_retries=0)
    with pytest.raises(anthropic.APIStatusError) as large:
        client.beta.agents.create(model="m", name="n", system="x" * (33 * 1024 * 1024))
    assert large.value.status_code == 413
    assert large.value.request_id


def test_a_chunked_body_over_the_limit_is_413(edge: SessionService) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"name":"'
        for _ in range(33):
            yield b"x" * 1024 * 1024

    with edge.http() as http:
        envelope(http.post("/v1/agents", content=chunks()), 413, "request_too_large")


async def test_bodies_of_many_requests_take_only_so_much_memory(edge: SessionService) -> None:
    head = f"POST /v1/agents HTTP/1.1\r\nHost: localhost\r\nx-api-key: {edge.key}\r\nContent-Length: {LIMIT}\r\n\r\n"
    port = int(edge.base_url.rpartition(":")[2])
    async with httpx.AsyncClient(base_url=edge.base_url, headers={"x-api-key": edge.key}) as client:

        async def refused() -> bool:
            answer = await client.post("/v1/agents", content=b"[" * 1024 * 1024)
            if answer.status_code == 429:
                envelope(answer, 429, "rate_limit_error")
            return answer.status_code == 429

        async def accepted() -> bool:
            return not await refused()

        with contextlib.ExitStack() as held:
            for _ in range(9):
                slow = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                await asyncio.to_thread(slow.sendall, head.encode() + b"[" * (LIMIT - 10_000))
            await eventually(refused, what="the refusal of a large body")
            assert (await client.post("/v1/agents", content=b"[" * 1000)).status_code == 400
        await eventually(accepted, what="room for a large body")


def test_an_object_too_large_for_the_store_is_413_and_not_stored(edge: SessionService) -> None:
    client = edge.client(max_retries=0)
    before = len(list(client.beta.agents.list(limit=100)))
    schema = {"type": "object", "description": "x" * (9 * 1024 * 1024)}
    tool = {"type": "custom", "name": "t", "description": "d", "input_schema": schema}
    with pytest.raises(anthropic.APIStatusError) as large:
        client.beta.agents.create(model="m", name="n", tools=[tool])  # type: ignore[list-item]
    assert large.value.status_code == 413
    assert len(list(client.beta.agents.list(limit=100))) == before


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"model":"m","name":"n"} x', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "Expected `object`"),
        (b'"text"', "Expected `object`"),
        (b"null", "Expected `object`"),
        (b'{"name":"n"}', "`model`"),
        (b'{"model":"m","name":7}', "name"),
        (b'{"model":"m","name":"n","colour":"red"}', "colour"),
        (b'{"model":"m","name":"n","system":"a\\u0000b"}', "NUL"),
        (b'{"model":"m","name":"n","system":"\\ud800"}', "not valid JSON"),
        (b'{"model":"m","name":"n","system":"\\ud800 and more text behind it"}', "not valid JSON"),
        (b'{"model":"m","name":"n","system":"\\udc00\\ud800 and more text behind it"}', "not valid JSON"),
        (b'{"model":"m","name":"n","mcp_servers":' + b"[" * 5000 + b"]" * 5000 + b"}", "levels deep"),
        (b'{"model":"m","name":"n","mcp_servers":' + b"[" * 500 + b"]" * 500 + b"}", "levels deep"),
        (b'{"model":"m","name":"n","metadata":{"a":1e999}}', "metadata"),
    ],
    ids=lambda value: repr(value[:50]) if isinstance(value, bytes) else None,
)
def test_bad_json_is_refused_with_a_sentence(edge: SessionService, body: bytes, says: str) -> None:
    with edge.http() as http:
        answer = http.post("/v1/agents", content=body, headers={"content-type": "application/json"})
        assert says in envelope(answer, 400, "invalid_request_error")


def raw(edge: SessionService, *parts: bytes) -> bytes:
    """What a connection answers until it is closed."""
    host, port = edge.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except OSError:
            pass  # it may have heard enough before everything was sent
        answer = b""
        while chunk := _received(connection):
            answer += chunk
        return answer


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def test_a_head_without_end_is_cut_off(edge: SessionService) -> None:
    start = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
    assert b" 400 " in raw(edge, start, b"x-long: ", *[b"x" * 10_000] * 10)[:20]
    assert b" 400 " in raw(edge, start, *[b"x-%d: y\r\n" % i * 500 for i in range(40)])[:20]
    assert b" 400 " in raw(edge, b"GET /" + b"x" * 200_000)[:20]
    fine = raw(edge, start, b"x-long: ", b"x" * 30_000, b"\r\nconnection: close\r\n\r\n")
    assert b" 200 OK" in fine[:20]


def test_what_is_not_http_is_answered_and_closed(edge: SessionService) -> None:
    for data in (b"\x16\x03\x01\x02\x00\x01", b"GET \xff HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n"):
        assert raw(edge, data).startswith(b"HTTP/1.1 400 ")
    assert '"level": "error"' not in edge.log.read_text()


# --- the process ---------------------------------------------------------------------------------------------------


def test_the_probes_and_the_document_need_no_key(edge: SessionService) -> None:
    for path in ("/healthz", "/readyz"):
        assert httpx.get(edge.base_url + path).json() == {"ok": True}
        assert httpx.head(edge.base_url + path).status_code == 200
    document = httpx.get(edge.base_url + "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert "post" in document["paths"]["/v1/agents/{agent_id}/archive"]


def test_without_the_bus_answers_are_503_and_come_back(tmp_path: Path) -> None:
    with session_service(tmp_path) as edge:
        client = edge.client(max_retries=0, timeout=60)
        agent = client.beta.agents.create(model="m", name="n")
        edge.nats.kill()
        with pytest.raises(anthropic.InternalServerError) as down:
            client.beta.agents.retrieve(agent.id)
        assert down.value.status_code == 503
        assert down.value.response.headers["retry-after"]
        edge.nats.start_now()

        async def back() -> bool:
            try:
                return client.beta.agents.retrieve(agent.id).id == agent.id
            except anthropic.InternalServerError:
                return False

        asyncio.run(eventually(back, what="the agent after a restart of the bus"))
        edge.kill()
        edge.start()
        assert edge.client().beta.agents.retrieve(agent.id) == agent
        assert [one.id for one in edge.client().beta.agents.list()] == [agent.id]


def test_it_stops_at_once_when_asked(tmp_path: Path) -> None:
    with session_service(tmp_path) as edge:
        client = edge.client()
        client.beta.agents.list()  # leaves a connection that is kept alive
        begin = time.monotonic()
        assert edge.stop() == 0
        assert time.monotonic() - begin < 3.0
        assert '"level": "error"' not in edge.log.read_text()


def test_a_body_that_does_not_come_is_408_and_the_request_is_in_the_trace_of_its_caller(tmp_path: Path) -> None:
    with session_service(tmp_path, {"HOLDFAST_BODY_TIMEOUT": "0.2", "HOLDFAST_LOG_LEVEL": "debug"}) as edge:
        head = f"POST /v1/agents HTTP/1.1\r\nhost: localhost\r\nx-api-key: {edge.key}\r\ncontent-length: 50\r\n"
        theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
        answer = raw(
            edge,
            f"{head}connection: close\r\ntraceparent: 00-{theirs}-00f067aa0ba902b7-00\r\n\r\n".encode() + b'{"name":',
        )
        assert b" 408 " in answer[:20]
        assert b"request_body_timeout" in answer
        edge.until_logged('"request"')
        lines = [json.loads(line) for line in edge.log.read_text().splitlines()]
        (line,) = [line for line in lines if line["event"] == "request" and line["path"] == "/v1/agents"]
        assert line["status"] == 408
        assert line["request_id"].encode() in answer
        assert line["trace_id"] == theirs  # a caller with a valid key; `test_traces.py` has those without
        assert edge.key not in edge.log.read_text()


def test_what_is_in_hand_is_finished_before_it_stops(tmp_path: Path) -> None:
    with session_service(tmp_path) as edge:
        host, port = edge.base_url.removeprefix("http://").split(":")
        body = json.dumps({"model": "m", "name": "late"}).encode()
        head = (
            f"POST /v1/agents HTTP/1.1\r\nhost: {host}\r\nx-api-key: {edge.key}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head.encode() + body[:5])
            edge.signal()
            edge.until_logged('"stopping"')
            connection.sendall(body[5:])
            assert b" 200 " in connection.recv(65536)[:20]
        assert edge.wait() == 0


async def test_replicas_agree_at_once_on_objects_and_soon_on_lists(edge: SessionService, tmp_path: Path) -> None:
    with replica(edge, tmp_path) as second:
        async with edge.async_client() as one, second.async_client() as two:
            made = await one.beta.agents.create(model="m", name="one")
            assert await two.beta.agents.retrieve(made.id) == made
            changed = await two.beta.agents.update(made.id, name="two", version=1)
            assert await one.beta.agents.retrieve(made.id) == changed

            async def listed() -> bool:
                return made.id in [agent.id async for agent in two.beta.agents.list(limit=100)]

            await eventually(listed, within=5.0, what="the agent in the list of the other replica")
            environment = await two.beta.environments.create(name="of both replicas")
            with pytest.raises(anthropic.ConflictError):
                await one.beta.environments.create(name="of both replicas")
            await one.beta.environments.delete(environment.id)
            with pytest.raises(anthropic.NotFoundError):
                await two.beta.environments.retrieve(environment.id)
