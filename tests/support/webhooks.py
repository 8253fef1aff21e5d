"""A session service with public events and a vault service, and a server that receives webhooks."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Generator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from anthropic import Anthropic

from tests.support.bao import BaoServer, VaultStack
from tests.support.created_sessions import MIB
from tests.support.edge import SessionService, session_service

TYPES = ["session.status_run_started", "session.status_idled", "session.deleted"]

QUICK = {
    "HOLDFAST_WEBHOOK_HOSTS": "127.0.0.1",
    "HOLDFAST_WEBHOOK_RETRY_FIRST": "0.1",
    "HOLDFAST_WEBHOOK_RETRY_MOST": "0.3",
    "HOLDFAST_WEBHOOK_TIMEOUT": "2",
}
"""Settings with which a test may receive on loopback, and need not wait for what a user would."""


class Received(NamedTuple):
    """One request: its path, its headers with names in lower case, and its body."""

    path: str
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def event(self, secret: str) -> Any:
        """The event, by the official SDK, which verifies the signature. Raises an error if it is wrong."""
        with Anthropic(api_key="none", webhook_key=secret) as client:
            return client.beta.webhooks.unwrap(self.body, headers=self.headers)


Answer = Callable[[Received], int]
"""The status to answer with."""


class Receiver:
    """An HTTP server on loopback. `answer` decides what it answers, 200 at first."""

    def __init__(self) -> None:
        self.got: list[Received] = []
        self.answer: Answer = lambda _request: 200
        self.headers: dict[str, str] = {}
        """Further headers of each answer."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                request = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                receiver.got.append(request)
                status = receiver.answer(request)
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in receiver.headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", "0")
                    self.end_headers()

            def log_request(self, code: Any = "-", size: Any = "-") -> None:
                """Write nothing to stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hooks"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, session: str) -> list[str]:
        """The types of the events of a session, in the order in which they came, repetitions too."""
        return [type_ for type_, id_ in map(_type_and_object, self.got) if id_ == session]

    def ids(self) -> list[str]:
        """The ids of the events without repetition, in the order in which they came first."""
        return list(dict.fromkeys(request.id for request in self.got))


def _type_and_object(request: Received) -> tuple[str, str]:
    with Anthropic(api_key="none") as client:
        data: Any = client.beta.webhooks.parse_unverified(request.body).data
    return data.type, data.id


@contextlib.contextmanager
def receiver() -> Generator[Receiver]:
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def webhook_stack(folder: Path, environ: Mapping[str, str] | None = None) -> Generator[SessionService]:
    """A session service with a stream of public events, and a vault service beside it. No harness."""
    settings = {"HOLDFAST_SESSION_DATA": str(folder / "data"), **QUICK, **(environ or {})}
    bao = BaoServer(folder / "bao")
    vault: VaultStack | None = None
    try:
        with asyncio.Runner() as runner, session_service(folder, settings, public_bytes=64 * MIB) as edge:
            runner.run(bao.start())
            vault = VaultStack(edge.nats, bao, folder)
            vault.start()
            runner.run(vault.wait_for_readiness(200))
            runner.run(asyncio.sleep(0.1))  # the connections of the probes close
            yield edge
    finally:
        if vault and vault.process:
            vault.process.kill()
            vault.process.wait(10)
        bao.kill()


class Webhooks:
    """The resource over plain HTTP."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def create(self, url: str, *, events: list[str] = TYPES, **fields: Any) -> dict[str, Any]:
        answer = self.http.post("/v1/webhooks", json={"url": url, "events": events, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, webhook_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/v1/webhooks/{webhook_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def update(self, webhook_id: str, **fields: Any) -> dict[str, Any]:
        answer = self.http.post(f"/v1/webhooks/{webhook_id}", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def deliveries(self, webhook_id: str) -> list[dict[str, Any]]:
        answer = self.http.get(f"/v1/webhooks/{webhook_id}/deliveries")
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def test(self, webhook_id: str) -> dict[str, Any]:
        answer = self.http.post(f"/v1/webhooks/{webhook_id}/test")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def rotate(self, webhook_id: str, **fields: Any) -> dict[str, Any]:
        answer = self.http.post(f"/v1/webhooks/{webhook_id}/rotate_secret", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, webhook_id: str, status: str, within_s: float = 15.0) -> dict[str, Any]:
        """Wait until the webhook has that status."""
        deadline = time.monotonic() + within_s
        while (found := self.get(webhook_id))["status"] != status:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found
