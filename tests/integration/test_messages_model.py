"""What the kind `messages` does by itself and the SDK does not."""

import asyncio

import pytest
from anthropic._constants import ANTHROPIC_API_VERSION

from holdfast.harness.models.interface import ModelFailure, Response
from holdfast.harness.models.messages import API_VERSION
from holdfast.process.settings import BadSettings
from tests.support.model_client import client, failure, pieces
from tests.support.raw_model import STREAM, Received, chunk, frame, head, raw_model, stream


def test_the_version_of_the_api_is_that_of_the_sdk() -> None:
    assert API_VERSION == ANTHROPIC_API_VERSION


async def test_a_request_on_a_connection_that_the_server_closes_is_sent_again_at_once() -> None:
    async def respond(request: Received, writer: asyncio.StreamWriter) -> bool:
        if request.connection == 1 and len(server.requests) == 2:
            return False
        writer.write(stream())
        return True

    async with raw_model(respond) as server, client("messages", server.url) as model:
        for _ in range(3):
            assert isinstance((await pieces(model))[-1], Response)
            await asyncio.sleep(0)
    assert [r.connection for r in server.requests] == [1, 1, 2, 2]
    assert len({r.body for r in server.requests}) == 1


async def test_a_request_is_sent_again_once_only() -> None:
    async def respond(_: Received, writer: asyncio.StreamWriter) -> bool:
        if len(server.requests) > 1:
            return False
        writer.write(stream())
        return True

    async with raw_model(respond) as server, client("messages", server.url) as model:
        await pieces(model)
        await asyncio.sleep(0)
        with pytest.raises(ModelFailure, match="closed the connection without an answer"):
            await pieces(model)
    assert [r.connection for r in server.requests] == [1, 1, 2]


async def test_a_request_on_a_new_connection_is_not_sent_again() -> None:
    async with raw_model(b"") as server:
        assert (await failure("messages", server.url)).outage
    assert len(server.requests) == 1


async def test_a_request_whose_answer_has_begun_is_not_sent_again() -> None:
    async def respond(_: Received, writer: asyncio.StreamWriter) -> bool:
        begun = head() + chunk(b"".join(map(frame, STREAM[:3])))
        writer.write(stream() if len(server.requests) == 1 else begun)
        return len(server.requests) == 1

    async with raw_model(respond) as server, client("messages", server.url) as model:
        await pieces(model)
        await asyncio.sleep(0)
        with pytest.raises(ModelFailure, match="broke off"):
            await pieces(model)
    assert len(server.requests) == 2


async def test_a_proxy_that_cannot_be_used_is_told_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(BadSettings, match="ALL_PROXY: must be an address with http"):
        async with client("messages", "https://api.example.com"):
            pass


async def test_a_proxy_without_a_scheme_is_an_http_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_model(stream()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removeprefix("http://"))
        async with client("messages", "http://model.invalid") as model:
            assert await pieces(model)
    assert len(proxy.requests) == 1
