"""Kinds of client in a process of their own: what they import, whom they trust, what they tell the provider."""

import asyncio
import contextlib
import os
import ssl
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from holdfast.cli.embedded.certificate import self_signed
from tests.support.raw_model import RawModel, raw_model, stream

KINDS = pytest.mark.parametrize("kind", ["anthropic", "messages"])

ASK = """
import asyncio, sys
import structlog
import holdfast.harness.main
from holdfast.harness.models.interface import Endpoint, Request
from holdfast.harness.models.registry import MODELS

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20))  # no debug line in the output
message = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
REQUEST = Request(model={"id": "m"}, system=[], messages=[message], tools=[], max_tokens=10)

async def ask(kind, url):
    model = MODELS[kind](Endpoint(base_url=url, key="k", silence=10))
    try:
        *_, response = [piece async for piece in model.stream(REQUEST)]
    finally:
        await model.close()
    return response.blocks[0]["text"]
"""


IGNORED = ("-W", "ignore:BasicAuth is deprecated", "-W", "ignore:The 'proxy_auth' parameter is deprecated")
"""The SDK gives aiohttp the password of a proxy in a way that aiohttp 4 will not have."""


async def run(script: str, *arguments: str, **environ: str) -> str:
    """The output of a Python process that runs ASK and `script`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", *IGNORED, "-c", ASK + script, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={"PATH": os.environ["PATH"], **environ},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 50)
    assert process.returncode == 0, out.decode()
    return out.decode().strip()


async def test_messages_does_not_import_the_sdk() -> None:
    script = """
print(asyncio.run(ask("messages", sys.argv[1])))
print(sorted({name.split(".")[0] for name in sys.modules} & {"anthropic", "httpx", "httpx2", "pydantic", "boto3"}))
"""
    async with raw_model(stream()) as server:
        assert await run(script, server.url) == "Hello\n[]"


@contextlib.asynccontextmanager
async def tls_model(folder: Path) -> AsyncGenerator[RawModel]:
    """An endpoint whose certificate is signed by `folder`/ca.pem alone."""
    private, certificate = self_signed()
    (folder / "ca.pem").write_bytes(certificate)
    (folder / "server.pem").write_bytes(private + certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    async with raw_model(stream(), tls=context) as server:
        yield server


PRINT = "print(asyncio.run(ask(sys.argv[1], sys.argv[2])))"


@KINDS
async def test_an_authority_of_the_users_own_is_trusted(kind: str, tmp_path: Path) -> None:
    async with tls_model(tmp_path) as server:
        assert await run(PRINT, kind, server.url, SSL_CERT_FILE=str(tmp_path / "ca.pem")) == "Hello"
    assert len(server.requests) == 1


@KINDS
async def test_tls_goes_through_a_proxy_unseen(kind: str, tmp_path: Path) -> None:
    heads: list[str] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        host, _, port = head.split(" ")[1].partition(":")
        to_reader, to_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async with await asyncio.start_server(tunnel, "127.0.0.1", 0) as proxy, tls_model(tmp_path) as server:
        address = f"http://user:secret@127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        environ = {"SSL_CERT_FILE": str(tmp_path / "ca.pem"), "HTTPS_PROXY": address}
        assert await run(PRINT, kind, server.url, **environ) == "Hello"
    assert len(heads) == 1
    assert heads[0].startswith(f"CONNECT {server.url.removeprefix('https://')} HTTP/1.1")
    assert "proxy-authorization: basic dxnlcjpzzwnyzxq=" in heads[0].lower()
    assert len(server.requests) == 1
    assert "proxy-authorization" not in server.requests[0].headers


@KINDS
async def test_the_provider_gets_no_trace_context_and_no_baggage(kind: str) -> None:
    script = """
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
context.attach(baggage.set_baggage("user", "secret"))
with trace.get_tracer("test").start_as_current_span("turn"):
    print(asyncio.run(ask(sys.argv[1], sys.argv[2])))
print([span.name for span in spans.get_finished_spans()])
"""
    async with raw_model(stream()) as server:
        assert await run(script, kind, server.url) == "Hello\n['turn']"
    assert not {"traceparent", "tracestate", "baggage", "b3"} & set(server.requests[0].headers)
