"""Endpoints that send too much, break off late or repeat the key: the same for each kind of client, on real sockets."""

import asyncio
import gc
import json
import zlib

import psutil
import pytest

from holdfast.harness.models.interface import Response, TextDelta
from holdfast.harness.models.sse import SSE_EVENT_LIMIT_BYTES
from holdfast.harness.models.streamed_model import ERROR_BODY_LIMIT_BYTES
from tests.support.model_client import KEY, ask, client, failure, pieces
from tests.support.raw_model import STREAM, Received, answer, chunk, frame, head, raw_model, stream

pytestmark = pytest.mark.parametrize("kind", ["anthropic", "messages"])

MIB = 1024 * 1024
HELLO = [{"type": "text", "text": "Hello"}]


def event(kind: str, index: int, /, **fields: object) -> str:
    return json.dumps({"type": kind, "index": index, **fields})


def text_delta(text: str) -> str:
    return event("content_block_delta", 0, delta={"type": "text_delta", "text": text})


# --- the end of the stream ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [
        b"",
        b'event: message_stop\ndata: {"type": "mess',
        frame('{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'),
        frame("nonsense"),
    ],
    ids=["no message_stop", "cut inside it", "an error behind it", "no JSON behind it"],
)
@pytest.mark.parametrize("lost", [False, True], ids=["ended", "connection lost"])
async def test_a_stream_that_ends_behind_its_stop_reason_is_an_answer(kind: str, end: bytes, lost: bool) -> None:
    body = b"".join(map(frame, STREAM[:-1])) + end
    async with raw_model(head() + chunk(body) + (b"" if lost else chunk(b""))) as server:
        response = await ask(kind, server.url)
    assert (response.blocks, response.stop, response.usage.output_tokens) == (HELLO, "end_turn", 2)
    assert len(server.requests) == 1


async def test_a_stream_that_is_silent_behind_its_stop_reason_is_an_answer(kind: str) -> None:
    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head() + chunk(b"".join(map(frame, STREAM[:-1]))))
        await asyncio.Event().wait()  # until the server is closed

    async with raw_model(respond) as server:
        assert (await ask(kind, server.url, silence=0.5)).blocks == HELLO


async def test_the_last_event_needs_no_empty_line(kind: str) -> None:
    body = b"".join(map(frame, STREAM[:-2])) + frame(STREAM[-2]).rstrip()
    async with raw_model(head() + chunk(body) + chunk(b"")) as server:
        assert (await ask(kind, server.url)).blocks == HELLO


async def test_half_an_emoji_is_replaced_or_joined(kind: str) -> None:
    parts = ["one \ud83d", "\ude00 two \ud83d", " three"]
    events = [*STREAM[:2], *map(text_delta, parts), *STREAM[3:]]
    async with raw_model(stream(*events)) as server, client(kind, server.url) as model:
        found = await pieces(model)
    assert isinstance(found[-1], Response)
    assert found[-1].blocks[0]["text"] == "one \U0001f600 two \ufffd three"
    assert "".join(p.text for p in found if isinstance(p, TextDelta)) == found[-1].blocks[0]["text"]


# --- the key -----------------------------------------------------------------------------------------------------


async def test_a_key_that_an_answer_repeats_is_told_nowhere(kind: str) -> None:
    call = {"type": "tool_use", "id": KEY, "name": "bash", "input": {}}
    arguments = json.dumps({KEY: [f"curl -H 'x-api-key: {KEY}'"]}).replace("-canary", "\\u002dcanary")
    events = [
        STREAM[0],
        STREAM[1],
        *(text_delta(part) for part in ("Your key is ", KEY[:3], KEY[3:9], KEY[9:], f". {KEY}", KEY[:6])),
        STREAM[3],
        event("content_block_start", 1, content_block=call),
        event("content_block_delta", 1, delta={"type": "input_json_delta", "partial_json": arguments[:20]}),
        event("content_block_delta", 1, delta={"type": "input_json_delta", "partial_json": arguments[20:]}),
        event("content_block_stop", 1),
        json.dumps({"type": "message_delta", "delta": {"stop_reason": KEY, "stop_details": {"category": KEY}}}),
    ]
    async with raw_model(stream(*events, request_id=KEY)) as server, client(kind, server.url) as model:
        found = await pieces(model)
    assert KEY not in str(found)
    told = "".join(p.text for p in found if isinstance(p, TextDelta))
    assert told == f"Your key is ***. ***{KEY[:6]}"
    assert isinstance(found[-1], Response)
    assert found[-1].blocks[0]["text"] == told
    assert found[-1].blocks[1]["input"] == {"***": ["curl -H 'x-api-key: ***'"]}


@pytest.mark.parametrize("before", [0, 440, 490, 499])
async def test_a_key_that_an_error_repeats_is_not_told_in_part_either(kind: str, before: int) -> None:
    told = "x" * before + KEY
    async with raw_model(answer(400, json.dumps({"error": {"message": told}}), request_id=KEY)) as server:
        failed = await failure(kind, server.url)
    assert "canary" not in failed.text
    async with raw_model(answer(500, " " * 3000 + told)) as server:
        assert "canary" not in (await failure(kind, server.url)).text
    error = json.dumps({"type": "error", "error": {"type": KEY, "message": told}})
    async with raw_model(stream(error, request_id=KEY)) as server:
        assert "canary" not in (await failure(kind, server.url)).text
    async with raw_model(answer(307, "", location=f"http://other/{told}")) as server:
        assert "canary" not in (await failure(kind, server.url)).text


# --- too much ----------------------------------------------------------------------------------------------------


class Flood:
    """Sends a piece again and again until the client closes the connection."""

    def __init__(self, start: bytes, piece: bytes) -> None:
        self._start = start
        self._piece = piece
        self.sent = 0

    async def respond(self, _: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(self._start)
        while True:
            writer.write(chunk(self._piece))
            self.sent += len(self._piece)
            await writer.drain()


async def test_the_body_of_an_error_is_read_in_part(kind: str) -> None:
    flood = Flood(head(500, content_type="text/plain"), b"too much " * 1000)
    async with raw_model(flood.respond) as server:
        failed = await failure(kind, server.url)
        await server.closed.wait()
    assert f"answered 500: {'too much ' * 50}" in failed.text
    assert (failed.retryable, failed.outage) == (True, True)
    assert flood.sent < ERROR_BODY_LIMIT_BYTES + 16 * MIB  # with the buffers of the sockets


async def test_an_error_whose_body_does_not_end_is_told(kind: str) -> None:
    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head(429, retry_after="3") + chunk(b'{"error": {"message": "slow'))
        await asyncio.Event().wait()  # until the server is closed

    async with raw_model(respond) as server:
        failed = await failure(kind, server.url, silence=20.0)
    assert (failed.kind, failed.retry_after) == ("model_rate_limited_error", 3.0)


@pytest.mark.parametrize("piece", [frame(text_delta("y" * 100_000)), b"y" * 100_000])
async def test_an_answer_without_end_is_cut(kind: str, piece: bytes) -> None:
    flood = Flood(head() + chunk(b"".join(map(frame, STREAM[:3]))), piece)
    async with raw_model(flood.respond) as server:
        response = await ask(kind, server.url)
        await server.closed.wait()
    assert response.stop == "max_tokens"
    assert response.blocks[0]["text"].startswith("Hello")
    assert len(response.blocks[0]["text"]) <= SSE_EVENT_LIMIT_BYTES


async def test_an_answer_that_is_too_large_before_it_has_begun_cannot_be_used(kind: str) -> None:
    flood = Flood(head(content_type="text/html"), b"<p>Welcome" * 10_000)
    async with raw_model(flood.respond) as server:
        failed = await failure(kind, server.url)
    assert failed.text.endswith("could not be used: an event is too large")
    assert failed.retryable


async def test_a_compressed_flood_leaves_no_memory_behind(kind: str) -> None:
    packer = zlib.compressobj(wbits=31)
    start = packer.compress(b"".join(map(frame, STREAM[:3]))) + packer.flush(zlib.Z_SYNC_FLUSH)
    bomb = packer.compress(b"y" * (300 * MIB)) + packer.flush()
    process = psutil.Process()

    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head(content_encoding="gzip") + chunk(start) + chunk(bomb) + chunk(b""))

    async with raw_model(respond) as server, client(kind, server.url) as model:
        before = process.memory_info().rss
        for _ in range(2):
            found = (await pieces(model))[-1]
            assert isinstance(found, Response)
            assert (found.blocks, found.stop) == (HELLO, "max_tokens")
        gc.collect()
        assert process.memory_info().rss - before < 64 * MIB
