"""What the model client says of endpoints that fail: real sockets, no stack."""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.embedded.ports import free_port
from holdfast.harness.main import check_address, endpoint
from holdfast.harness.models.anthropic import AnthropicModel
from holdfast.harness.models.anthropic_failures import retry_after, without_credentials
from holdfast.harness.models.interface import Endpoint, ModelFailure, Request
from holdfast.harness.settings import HarnessSettings
from holdfast.process.settings import BadSettings
from tests.support.edge import session_service

KEY = "sk-canary-0123456789"
REQUEST = Request(
    model={"id": "m"}, system=[], messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}], tools=[],
    max_tokens=10,
)  # fmt: skip


class Server:
    """Answers every request with the same bytes, and keeps what it was sent."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.received = b""
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(int(h.split(b":")[1]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length"))
        self.received += head + await reader.readexactly(size)
        writer.write(self._answer)
        await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def serving(answer: bytes) -> AsyncGenerator[Server]:
    server = Server(answer)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener:
        yield server


def answer(status: int, body: str = "{}", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} x", f"content-length: {len(body)}", "content-type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", body]).encode()


async def failure(url: str, key: str = KEY) -> ModelFailure:
    """How a request to that address fails."""
    model = AnthropicModel(Endpoint(base_url=url, key=key, silence=5))
    try:
        with pytest.raises(ModelFailure) as failed:
            async for _ in model.stream(REQUEST):
                pass
    finally:
        await model.close()
    assert KEY not in str(failed.value)
    return failed.value


async def test_nobody_listens() -> None:
    url = f"http://127.0.0.1:{free_port()}/v"
    failed = await failure(url)
    assert str(failed) == f"The model at {url} could not be reached: connection refused"
    assert (failed.retryable, failed.outage) == (True, True)


async def test_the_connection_is_closed_without_an_answer() -> None:
    async with serving(b"") as server:
        failed = await failure(server.url)
    assert str(failed) == (
        f"The model at {server.url} could not be reached: it closed the connection without an answer"
    )
    assert failed.outage


async def test_the_name_is_unknown() -> None:
    failed = await failure("http://model.invalid")
    assert str(failed) == "The model at http://model.invalid could not be reached: its host name cannot be resolved"
    assert failed.outage


async def test_a_server_without_tls_is_no_outage() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"this is no TLS\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as listener:
        failed = await failure(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    assert "could not be reached: TLS failed" in str(failed)
    assert (failed.retryable, failed.outage) == (True, False)


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "retryable"),
    [
        (429, {"retry_after": "7"}, "{}", "model_rate_limited_error", True),
        (529, {}, "{}", "model_overloaded_error", True),
        (503, {}, '{"error": {"type": "overloaded_error", "message": "m"}}', "model_overloaded_error", True),
        (500, {}, "no json", "model_request_failed_error", True),
        (404, {}, '{"error": "text"}', "model_request_failed_error", False),
        (403, {}, '{"error": {"message": "m", "details": "text"}}', "model_request_failed_error", False),
        (402, {}, "{}", "billing_error", False),
        (400, {}, '{"error": {"message": "Your credit balance is too low"}}', "billing_error", False),
        (
            429,
            {},
            '{"error": {"message": "m", "details": {"error_code": "contract_spend_limit_reached"}}}',
            "billing_error",
            False,
        ),
    ],
)
async def test_an_error_status(status: int, headers: Any, body: str, kind: str, retryable: bool) -> None:
    async with serving(answer(status, body, **headers)) as server:
        failed = await failure(server.url)
    assert str(failed).startswith(f"The model at {server.url} answered {status}: ")
    assert (failed.kind, failed.retryable, failed.outage) == (kind, retryable, retryable)
    assert failed.retry_after == float(headers.get("retry_after", 0))


async def test_a_key_that_the_endpoint_repeats_is_not_told() -> None:
    async with serving(answer(401, f'{{"error": {{"message": "wrong key {KEY}"}}}}')) as server:
        failed = await failure(server.url)
    assert str(failed) == f"The model at {server.url} answered 401: wrong key ***"
    assert KEY.encode() in server.received


async def test_without_a_key_none_is_sent_and_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", KEY)
    async with serving(answer(401)) as server:
        failed = await failure(server.url, key="")
    assert str(failed).startswith(f"No API key is set for the model at {server.url}")
    assert "HOLDFAST_MODEL_API_KEY" in str(failed)
    assert not failed.retryable
    sent = server.received.lower()
    assert sent.startswith(b"post /v1/messages")
    assert b"x-api-key" not in sent
    assert b"authorization" not in sent


@pytest.mark.parametrize("key", [KEY, ""])
def test_a_model_address_that_is_holdfast_itself(tmp_path: Path, key: str) -> None:
    with session_service(tmp_path) as edge:
        failed = asyncio.run(failure(edge.base_url, key))
    assert f"The model address {edge.base_url} points to Holdfast itself" in str(failed)
    assert not failed.retryable


NOW = 1_700_000_000.0
"""Tue, 14 Nov 2023 22:13:20 GMT."""


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "-5"}, -5),
        ({"retry-after": "inf"}, math.inf),
        ({"retry-after": "1e309"}, math.inf),
        ({"retry-after": "9999999999"}, 9_999_999_999),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": ""}, 0),
        ({"retry-after": "Tue, 14 Nov 2023 22:14:00 GMT"}, 40),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:00 GMT"}, -20),
        ({"retry-after": "Tue, 14 Nov 99999 22:13:00 GMT"}, 0),
    ],
)
def test_retry_after_is_read_as_it_is(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    "url", ["ftp://a", "127.0.0.1:9", "http://", "http://a:99999", "http://a:0", "http://[::1", "", "http://u:p@a"]
)
def test_an_address_that_no_request_can_be_sent_to(url: str) -> None:
    with pytest.raises(BadSettings, match="HOLDFAST_MODEL_BASE_URL") as wrong:
        endpoint(HarnessSettings(model_base_url=url))
    assert "u:p" not in str(wrong.value)


def test_addresses_that_are_taken() -> None:
    for url in ("https://api.anthropic.com", "http://127.0.0.1:8080/v1", "http://[::1]:80"):
        check_address(url)
    assert without_credentials("http://u:p@host:80/path?key=secret#x") == "http://host:80/path"
