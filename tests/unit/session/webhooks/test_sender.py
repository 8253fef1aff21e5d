"""Requests over TLS, and addresses that are not public, by the sender itself."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from holdfast.process.outbound import tls_context
from holdfast.session.webhooks.sender import Sender
from tests.support.certificate import self_signed


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        ok = (self.path, self.headers["host"], body) == ("/a%20b?c=d", f"localhost:{self.server.server_port}", b"{}")  # type: ignore[attr-defined]
        self.send_response(202 if ok else 400)
        self.end_headers()

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Write nothing to stderr."""


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server with a certificate for `localhost`, and the file of that certificate."""
    certificate, key = self_signed(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}/a%20b?c=d", certificate
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_certificate_is_checked(https: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    url, certificate = https
    sender = Sender({"localhost"}, 5)
    tls_context.cache_clear()
    unknown = await sender.send(url, b"{}", {})
    assert (unknown.status, unknown.error) == (0, "the certificate of the endpoint is not valid")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_context.cache_clear()
    try:
        known = await sender.send(url, b"{}", {})
    finally:
        tls_context.cache_clear()
    assert (known.status, known.error) == (202, "")


@pytest.mark.parametrize("url", ["https://localhost/", "http://127.0.0.1:1/", "https://[::1]/", "https://127.1/"])
async def test_inner_addresses_are_refused_at_the_request_too(url: str) -> None:
    outcome = await Sender((), 5).send(url, b"{}", {})
    assert (outcome.status, outcome.error) == (0, "the host has an address that is not public")


async def test_a_name_that_does_not_exist() -> None:
    outcome = await Sender((), 5).send("https://nowhere.invalid/", b"{}", {})
    assert outcome.error in ("the name of the host cannot be resolved", "the endpoint did not answer in time")
