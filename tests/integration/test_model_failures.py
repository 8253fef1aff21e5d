"""What every kind of client says of an endpoint that fails: the same failure for the same fault, over real sockets."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.embedded.certificate import self_signed
from holdfast.cli.embedded.ports import free_port
from tests.support.edge import session_service
from tests.support.model_client import KEY, Failed, client, failure, pieces
from tests.support.raw_model import STREAM, Received, answer, chunk, frame, head, raw_model, stream

pytestmark = pytest.mark.parametrize("kind", ["anthropic", "messages"])

FAILED = "model_request_failed_error"
OVERLOADED = "model_overloaded_error"
RATE_LIMITED = "model_rate_limited_error"


def outage(text: str, kind: str = FAILED, **fields: Any) -> Failed:
    """No tokens were used, so a retry costs nothing."""
    return Failed(text, kind, retryable=True, outage=True, **fields)


def broken(text: str, kind: str = FAILED) -> Failed:
    """A retry may help, but each one costs tokens or needs a hand."""
    return Failed(text, kind, retryable=True, outage=False)


def final(text: str, kind: str = FAILED, **fields: Any) -> Failed:
    """A retry cannot help."""
    return Failed(text, kind, retryable=False, outage=False, **fields)


# --- no answer ---------------------------------------------------------------------------------------------------


async def test_nobody_listens(kind: str) -> None:
    url = f"http://127.0.0.1:{free_port()}/v"
    assert await failure(kind, url) == outage(f"The model at {url} could not be reached: connection refused")


async def test_the_connection_is_closed_without_an_answer(kind: str) -> None:
    async with raw_model(b"") as server:
        text = f"The model at {server.url} could not be reached: it closed the connection without an answer"
        assert await failure(kind, server.url) == outage(text)
    assert len(server.requests) == 1


async def test_the_name_is_unknown(kind: str) -> None:
    text = "The model at http://model.invalid could not be reached: its host name cannot be resolved"
    assert await failure(kind, "http://model.invalid") == outage(text)


async def test_the_answer_is_no_http(kind: str) -> None:
    async with raw_model(b"SSH-2.0-OpenSSH_9.9\r\n\r\n") as server:
        failed = await failure(kind, server.url)
    assert failed.text.startswith(f"The model at {server.url} could not be reached: ")
    assert (failed.retryable, failed.outage) == (True, True)


async def test_a_server_without_tls_is_no_outage(kind: str) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"this is no TLS\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as listener:
        failed = await failure(kind, f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    assert "could not be reached: TLS failed" in failed.text
    assert (failed.retryable, failed.outage) == (True, False)


async def test_a_certificate_that_is_not_trusted_is_no_outage(kind: str, tmp_path: Path) -> None:
    private, certificate = self_signed()
    (tmp_path / "server.pem").write_bytes(private + certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    async with raw_model(stream(), tls=context) as server:
        failed = await failure(kind, server.url)
    assert failed == broken(
        f"The model at {server.url} could not be reached: its certificate is not trusted: self-signed certificate"
    )
    assert server.requests == []


# --- an error status ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "told", "make"),
    [
        (429, "{}", "{}", lambda t: outage(t, RATE_LIMITED, retry_after=7.0)),
        (529, "", "no text", lambda t: outage(t, OVERLOADED, retry_after=7.0)),
        (
            503, '{"error": {"type": "overloaded_error", "message": "m"}}', "m",
            lambda t: outage(t, OVERLOADED, retry_after=7.0),
        ),
        (500, "no json", "no json", lambda t: outage(t, retry_after=7.0)),
        (502, "<html>\n  <p>Bad gateway</p>", "<html> <p>Bad gateway</p>", lambda t: outage(t, retry_after=7.0)),
        (504, "", "Gateway Timeout", lambda t: outage(t, retry_after=7.0)),
        (408, "{}", "{}", lambda t: Failed(t, FAILED, retryable=True, outage=False, retry_after=7.0)),
        (409, "{}", "{}", lambda t: Failed(t, FAILED, retryable=True, outage=False, retry_after=7.0)),
        (403, '{"message": "Not yours."}', "Not yours.", lambda t: final(t, retry_after=7.0)),
        (404, '{"error": "text"}', '{"error": "text"}', lambda t: final(t, retry_after=7.0)),
        (403, '{"error": {"message": "m", "details": "text"}}', "m", lambda t: final(t, retry_after=7.0)),
        (400, '{"error": {"message": "wrong"}}', "wrong", lambda t: final(t, rejected=True, retry_after=7.0)),
        (422, '[{"error": 1}]', '[{"error": 1}]', lambda t: final(t, rejected=True, retry_after=7.0)),
        (
            400, '{"error": {"message": "prompt is too long: 9 > 8"}}', "prompt is too long: 9 > 8",
            lambda t: final(t, rejected=True, context_overflow=True, retry_after=7.0),
        ),
        (413, "{}", "{}", lambda t: final(t, rejected=True, context_overflow=True, retry_after=7.0)),
        (402, "{}", "{}", lambda t: final(t, "billing_error")),
        (
            400, '{"error": {"message": "Your credit balance is too low"}}', "Your credit balance is too low",
            lambda t: final(t, "billing_error"),
        ),
        (
            429, '{"error": {"message": "m", "details": {"error_code": "contract_spend_limit_reached"}}}', "m",
            lambda t: final(t, "billing_error"),
        ),
    ],
)  # fmt: skip
async def test_an_error_status(kind: str, status: int, body: str, told: str, make: Callable[[str], Failed]) -> None:
    async with raw_model(answer(status, body, retry_after="7")) as server:
        assert await failure(kind, server.url) == make(f"The model at {server.url} answered {status}: {told}")


async def test_a_long_error_is_cut(kind: str) -> None:
    async with raw_model(answer(500, "x" * 300_000)) as server:
        failed = await failure(kind, server.url)
    assert failed.text == f"The model at {server.url} answered 500: {'x' * 500}"


async def test_a_key_that_the_endpoint_repeats_is_not_told(kind: str) -> None:
    async with raw_model(answer(401, f'{{"error": {{"message": "wrong key {KEY}"}}}}')) as server:
        assert await failure(kind, server.url) == final(f"The model at {server.url} answered 401: wrong key ***")
    assert KEY in str(server.requests[0].headers)


async def test_without_a_key_the_way_out_is_told(kind: str) -> None:
    async with raw_model(answer(401)) as server:
        failed = await failure(kind, server.url, key="")
    assert failed.text.startswith(f"No API key is set for the model at {server.url}")
    assert "HOLDFAST_MODEL_API_KEY" in failed.text
    assert not failed.retryable


@pytest.mark.parametrize("key", [KEY, ""])
def test_a_model_address_that_is_holdfast_itself(kind: str, tmp_path: Path, key: str) -> None:
    with session_service(tmp_path) as edge:
        failed = asyncio.run(failure(kind, edge.base_url, key=key))
    assert f"The model address {edge.base_url} points to Holdfast itself" in failed.text
    assert not failed.retryable


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(kind: str, status: int) -> None:
    async with raw_model(stream()) as other:
        location = other.url.replace("://", "://user:secret@") + "/v1/messages?token=secret"
        async with raw_model(answer(status, "", location=location)) as server:
            failed = await failure(kind, server.url)
    assert failed == final(
        f"The model at {server.url} answered {status}: it redirects to {other.url}/v1/messages. "
        "Redirects are not followed; set HOLDFAST_MODEL_BASE_URL to the address itself"
    )
    assert other.requests == []


@pytest.mark.parametrize(
    ("headers", "body", "named"),
    [
        ({"request_id": "req_1"}, "{}", " (request req_1)"),
        ({"x_request_id": "abc-2"}, "{}", " (request abc-2)"),
        ({}, '{"request_id": "req_3"}', " (request req_3)"),
        ({"request_id": "not an id"}, "{}", ""),
    ],
)
async def test_an_error_names_the_request(kind: str, headers: dict[str, str], body: str, named: str) -> None:
    async with raw_model(answer(500, body, **headers)) as server:
        failed = await failure(kind, server.url)
    assert failed.text == f"The model at {server.url} answered 500: {body}{named}"


# --- an answer that breaks off -----------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [0, 3])
@pytest.mark.parametrize(
    ("error", "failed_as", "busy"),
    [
        ("overloaded_error", OVERLOADED, True),
        ("rate_limit_error", RATE_LIMITED, True),
        ("api_error", FAILED, False),
    ],
)
async def test_an_error_in_the_stream(kind: str, begun: int, error: str, failed_as: str, busy: bool) -> None:
    event = f'{{"type":"error","error":{{"type":"{error}","message":"It is so."}}}}'
    async with raw_model(stream(*STREAM[:begun], event, request_id="req_9")) as server:
        failed = await failure(kind, server.url)
    text = f"The model at {server.url} broke off: It is so. (request req_9)"
    assert failed == Failed(text, failed_as, retryable=True, outage=busy or not begun)


@pytest.mark.parametrize("begun", [0, 3])
async def test_the_connection_is_lost_in_the_stream(kind: str, begun: int) -> None:
    cut = head(request_id="req_9") + chunk(b"".join(map(frame, STREAM[:begun])) or b": wait\n\n")
    async with raw_model(cut) as server:
        failed = await failure(kind, server.url)
    cause = "Not enough data to satisfy transfer length header."
    assert failed.text == f"The answer of the model at {server.url} broke off: {cause} (request req_9)"
    assert (failed.kind, failed.retryable, failed.outage) == (FAILED, True, not begun)


@pytest.mark.parametrize("begun", [0, 3])
async def test_silence_before_and_in_the_stream(kind: str, begun: int) -> None:
    async def respond(_: Received, writer: asyncio.StreamWriter) -> None:
        if begun:
            writer.write(head(request_id="req_9") + chunk(b"".join(map(frame, STREAM[:begun]))))
        await asyncio.Event().wait()  # until the server is closed

    async with raw_model(respond) as server:
        failed = await failure(kind, server.url, silence=0.3)
        async with asyncio.timeout(2):
            await server.closed.wait()
    named = " (request req_9)" if begun else ""
    text = f"The model at {server.url} sent nothing for 0.3 s{named}"
    assert failed == Failed(text, FAILED, retryable=True, outage=not begun)


async def test_an_endpoint_that_reads_nothing_is_silent(kind: str) -> None:
    async def ignore(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()  # until the server is closed
        writer.close()

    async with await asyncio.start_server(ignore, "127.0.0.1", 0, limit=1024) as listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        assert await failure(kind, url, silence=0.3) == outage(f"The model at {url} sent nothing for 0.3 s")


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"".join(map(frame, STREAM[:3])), "the stream ended before the response did"),
        (b"", "the stream ended before the response did"),
        (b"<html>Welcome</html>", "the stream ended before the response did"),
        (frame("nonsense"), "an event is no JSON object"),
        (frame("[]"), "an event is no JSON object"),
        (frame('{"type":"content_block_start","index":"a"}'), "index is no number"),
    ],
)
async def test_an_answer_that_cannot_be_used(kind: str, body: bytes, cause: str) -> None:
    async with raw_model(head(request_id="req_9") + (chunk(body) if body else b"") + chunk(b"")) as server:
        failed = await failure(kind, server.url)
    assert failed.text.startswith(f"The answer of the model at {server.url} could not be used: {cause}")
    assert failed.text.endswith(" (request req_9)")
    assert (failed.kind, failed.retryable, failed.outage) == (FAILED, True, False)


async def test_a_stream_whose_compression_is_wrong(kind: str) -> None:
    async with raw_model(head(content_encoding="gzip") + chunk(b"this is not compressed") + chunk(b"")) as server:
        failed = await failure(kind, server.url)
    assert failed.text.startswith(f"The answer of the model at {server.url} broke off: ")
    assert (failed.kind, failed.retryable, failed.outage) == (FAILED, True, True)


async def test_a_client_goes_on_after_a_failure(kind: str) -> None:
    answers = iter([answer(500, connection="close"), head() + chunk(frame(STREAM[0])), stream()])

    async def respond(_: Received, writer: asyncio.StreamWriter) -> bool:
        writer.write(next(answers))
        return False

    async with raw_model(respond) as server, client(kind, server.url) as model:
        for _ in range(2):
            with pytest.raises(Exception, match=f"model at {server.url}"):
                await pieces(model)
        assert await pieces(model)


# --- a proxy -----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def proxied(monkeypatch: pytest.MonkeyPatch, respond: bytes, **more: str) -> AsyncGenerator[list[Received]]:
    """A proxy, named by HTTP_PROXY with a password, that answers by itself; yields what it gets."""
    async with raw_model(respond) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://user:secret@"))
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        yield proxy.requests


async def test_a_proxy_of_the_environment_is_asked(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxied(monkeypatch, stream()) as requests, client(kind, "http://model.invalid") as model:
        assert await pieces(model)
    assert requests[0].line == "POST http://model.invalid/v1/messages HTTP/1.1"
    assert requests[0].headers["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_no_proxy_is_obeyed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxied(monkeypatch, stream(), NO_PROXY="127.0.0.1,other") as requests, raw_model(stream()) as server:
        async with client(kind, server.url) as model:
            assert await pieces(model)
        assert requests == []


async def test_a_proxy_that_is_away_is_an_outage(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://user:secret@127.0.0.1:{free_port()}")
    failed = await failure(kind, "http://model.invalid")
    assert failed == outage("The model at http://model.invalid could not be reached: connection refused")
