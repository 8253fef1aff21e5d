"""What every kind of client does with a model that answers: one suite for all kinds, over real sockets."""

import asyncio
import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from holdfast.harness.models.interface import BlockStart, Response, TextDelta, UsageUpdate
from tests.support.eventually import eventually
from tests.support.model import ScriptedModel, call, said, say, scripted_model
from tests.support.model_client import KEY, ask, client, failure, pieces, request
from tests.support.raw_model import STREAM, Received, chunk, frame, head, raw_model, stream

KINDS = ("anthropic", "messages")

pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedModel]:
    with scripted_model(log=tmp_path_factory.mktemp("model") / "model.log") as model:
        yield model


def asking(mark: str) -> Any:
    return request(said(mark)["content"][0]["text"], tools=[{"name": "bash", "input_schema": {"type": "object"}}])


async def test_pieces_come_in_order_and_a_response_last(kind: str, scripted: ScriptedModel) -> None:
    mark = await scripted.play(call("bash", "I look.", command="ls"))
    async with client(kind, scripted.base_url) as model:
        found = await pieces(model, asking(mark))
    assert isinstance(found[0], UsageUpdate)
    assert [(p.index, p.type) for p in found if isinstance(p, BlockStart)] == [(0, "text"), (1, "tool_use")]
    assert "".join(p.text for p in found if isinstance(p, TextDelta)) == "I look."
    response = found[-1]
    assert isinstance(response, Response)
    assert response.stop == "tool_use"
    assert response.blocks[0] == {"type": "text", "text": "I look."}
    assert response.blocks[1]["input"] == {"command": "ls"}
    assert response.usage.output_tokens > 0


async def test_thinking_keeps_its_signature(kind: str, scripted: ScriptedModel) -> None:
    mark = await scripted.play(say("So.", thinking="I think."))
    thought = (await ask(kind, scripted.base_url, asking(mark))).blocks[0]
    assert (thought["type"], thought["thinking"]) == ("thinking", "I think.")
    assert thought["signature"]


async def test_a_large_request_arrives_whole(kind: str) -> None:
    text = "x" * 9_000_000
    async with raw_model(stream()) as server:
        response = await ask(kind, server.url, request(text))
    assert response.blocks == [{"type": "text", "text": "Hello"}]
    assert msgspec.json.decode(server.requests[0].body)["messages"][0]["content"][0]["text"] == text


async def test_both_kinds_send_the_same_body(kind: str) -> None:
    tools = [{"name": "a"}, {"name": "b"}]
    model = {"id": "m", "effort": {"type": "low"}, "inference_geo": "eu"}
    async with raw_model(stream()) as server:
        await ask(kind, server.url, request(model=model, system=["one", "two"], tools=tools, may_call_tools=False))
    mark = {"cache_control": {"type": "ephemeral"}}
    assert msgspec.json.decode(server.requests[0].body) == {
        "model": "m",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", **mark}]}],
        "stream": True,
        "system": [{"type": "text", "text": "one"}, {"type": "text", "text": "two", **mark}],
        "tools": [{"name": "a"}, {"name": "b", **mark}],
        "tool_choice": {"type": "none"},
        "output_config": {"effort": "low"},
        "inference_geo": "eu",
    }


@pytest.mark.parametrize("path", ["", "/", "/gateway", "/gateway/"])
async def test_the_path_follows_that_of_the_address(kind: str, path: str) -> None:
    async with raw_model(stream()) as server:
        await ask(kind, server.url + path)
    assert server.requests[0].line == f"POST {path.rstrip('/')}/v1/messages HTTP/1.1"


@pytest.mark.parametrize(
    ("auth", "sent"),
    [("bearer", {"authorization": f"Bearer {KEY}"}), ("x-api-key", {"x-api-key": KEY})],
)
async def test_the_key_is_sent_in_one_header(kind: str, auth: str, sent: dict[str, str]) -> None:
    async with raw_model(stream()) as server:
        await ask(kind, server.url, auth=auth, betas=("one-2026-01-01", "two-2026-01-01"))
    headers = server.requests[0].headers
    assert {name: text for name, text in headers.items() if name in ("authorization", "x-api-key")} == sent
    assert headers["anthropic-beta"] == "one-2026-01-01,two-2026-01-01"
    assert headers["anthropic-version"] == "2026-10-21"
    assert headers["content-type"] == "application/json"


async def test_without_a_key_none_is_sent(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", KEY)
    async with raw_model(stream()) as server:
        await ask(kind, server.url, key="")
    headers = server.requests[0].headers
    assert not {"authorization", "x-api-key", "anthropic-beta"} & set(headers)
    assert KEY not in str(headers)


def compressed(*parts: bytes) -> list[bytes]:
    """The parts as one gzip stream, cut where each part can be read."""
    packer = zlib.compressobj(wbits=31)
    cut = [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts]
    return [*cut, packer.flush()]


async def test_a_compressed_stream_is_read_as_it_comes(kind: str) -> None:
    read = asyncio.Event()

    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        first, rest, end = compressed(b"".join(map(frame, STREAM[:3])), b"".join(map(frame, STREAM[3:])))
        writer.write(head(content_encoding="gzip") + chunk(first))
        await read.wait()
        writer.write(chunk(rest) + chunk(end) + chunk(b""))

    async with raw_model(respond) as server, client(kind, server.url) as model:
        found: list[Any] = []
        async for piece in model.stream(request()):
            found.append(piece)
            if isinstance(piece, TextDelta):
                read.set()
    assert found[-1].blocks == [{"type": "text", "text": "Hello"}]
    assert "gzip" in server.requests[0].headers["accept-encoding"]


async def test_an_error_may_be_compressed(kind: str) -> None:
    body = gzip.compress(b'{"error": {"message": "too many"}}')
    async with raw_model(head(429, len(body), content_encoding="gzip") + body) as server:
        assert (await failure(kind, server.url)).text.endswith("answered 429: too many")


async def test_events_may_come_in_any_pieces(kind: str) -> None:
    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head())
        for byte in b": a comment\r\n\r\n" + b"".join(map(frame, STREAM)).replace(b"\n", b"\r\n"):
            writer.write(chunk(bytes([byte])))
        writer.write(chunk(b""))

    async with raw_model(respond) as server:
        response = await ask(kind, server.url)
    assert (response.blocks, response.stop) == ([{"type": "text", "text": "Hello"}], "end_turn")
    assert response.usage.output_tokens == 2


async def test_a_connection_is_used_again(kind: str) -> None:
    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(stream())

    async with raw_model(respond) as server, client(kind, server.url) as model:
        for _ in range(3):
            await pieces(model)
            await asyncio.sleep(0)
    assert [r.connection for r in server.requests] == [1, 1, 1]


async def test_a_response_does_not_wait_for_the_end_of_the_body(kind: str) -> None:
    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head() + chunk(b"".join(map(frame, STREAM))))
        await asyncio.Event().wait()  # until the server is closed

    async with raw_model(respond) as server, client(kind, server.url) as model:
        async with asyncio.timeout(2):
            assert isinstance((await pieces(model))[-1], Response)
        async with asyncio.timeout(3):
            await server.closed.wait()  # a body that does not end is given up with its connection


async def test_a_cancelled_request_closes_its_connection(kind: str) -> None:
    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head() + chunk(b"".join(map(frame, STREAM[:3]))))
        await asyncio.Event().wait()  # until the server is closed

    async with raw_model(respond) as server, client(kind, server.url) as model:
        reading = asyncio.create_task(pieces(model))

        async def asked() -> bool:
            return bool(server.requests)

        await eventually(asked, what="the request")
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        async with asyncio.timeout(1):
            await server.closed.wait()


async def test_a_request_that_is_cancelled_before_its_answer_closes_its_connection(kind: str) -> None:
    async def respond(_: Received, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()  # until the server is closed

    async with raw_model(respond) as server, client(kind, server.url) as model:
        reading = asyncio.create_task(pieces(model))

        async def asked() -> bool:
            return bool(server.requests)

        await eventually(asked, what="the request")
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        async with asyncio.timeout(1):
            await server.closed.wait()


async def test_a_slow_stream_is_not_cut_off(kind: str) -> None:
    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head())
        for event in ('{"type":"ping"}', *STREAM):
            await asyncio.sleep(0.25)
            writer.write(chunk(frame(event)))
        writer.write(chunk(b""))

    async with raw_model(respond) as server:
        response = await ask(kind, server.url, silence=0.7)
    assert response.blocks == [{"type": "text", "text": "Hello"}]


async def test_many_requests_at_once_each_have_a_connection(kind: str) -> None:
    everybody = asyncio.Event()

    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 150:
            everybody.set()
        await everybody.wait()
        writer.write(stream())

    async with raw_model(respond) as server, client(kind, server.url) as model, asyncio.timeout(30):
        found = await asyncio.gather(*(pieces(model) for _ in range(150)))
    assert all(isinstance(each[-1], Response) for each in found)
