"""The session service on a nats-server, both real, for tests of the HTTP API that need no other service."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from pathlib import Path

import httpx
from anthropic import Anthropic, AsyncAnthropic

from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.cli.embedded.ports import free_port
from holdfast.process.api_keys import new_api_key
from holdfast.process.settings import ProcessSettings
from tests.support.servers import NatsServer

PUBLIC_BYTES = "HOLDFAST_PUBLIC_EVENTS_BYTES"
READY_WITHIN = 30.0
STOP_WITHIN = 15.0


class SessionService:
    """One session service with its nats-server. Both are stopped by their process ids."""

    def __init__(self, folder: Path, environ: Mapping[str, str], other: "SessionService | None" = None) -> None:
        self.monitor = other.monitor if other else f"127.0.0.1:{free_port()}"
        self.nats = other.nats if other else NatsServer(folder / "nats", config=f'http: "{self.monitor}"')
        self.key = other.key if other else new_api_key()
        self.log = folder / "session.log"
        self._folder = folder
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._clients: list[Anthropic] = []
        self._plain = httpx.Client(trust_env=False)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def environ(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOLDFAST_NATS_URL": self.nats.url, **self._environ}

    def start(self) -> None:
        """Start the service, and return when it is ready."""
        file = self._folder / "key"
        file.write_text(self.key + "\n")
        file.chmod(0o600)
        environ = {**self.environ, "HOLDFAST_API_KEY_FILE": str(file), "HOLDFAST_PORT": "0"}
        self._port = 0
        offset = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            argv = [sys.executable, "-m", "holdfast.session"]
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=environ)
        deadline = time.monotonic() + READY_WITHIN
        while not self._is_ready(offset):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the session service did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)

    def _is_ready(self, offset: int) -> bool:
        for line in self.log.read_text()[offset:].splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if entry.get("event") == "listening":
                    self._port = entry["port"]
        if not self._port:
            return False
        try:
            return self._plain.get(f"{self.base_url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def start_armed(self, fault: str) -> None:
        """Start it again with that fault point armed, after it has died."""
        self.kill()
        self._environ = {**self._environ, "HOLDFAST_FAULT": fault}
        self.start()

    def start_unarmed(self) -> None:
        """Start it again without the fault that it died of."""
        self._environ = {name: value for name, value in self._environ.items() if name != "HOLDFAST_FAULT"}
        self.start()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.signal()
        return self.wait()

    def signal(self) -> None:
        """SIGTERM."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP, until `thaw`."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def wait(self) -> int:
        """Wait for the end; returns the exit code."""
        assert self._process
        return self._process.wait(STOP_WITHIN)

    def until_logged(self, text: str) -> None:
        """Wait until the log holds `text`. Raises AssertionError."""
        deadline = time.monotonic() + STOP_WITHIN
        while text not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()[-2000:]
            time.sleep(0.02)

    def close(self) -> None:
        """Kill the service and close its clients."""
        for client in (*self._clients, self._plain):
            client.close()
        self.kill()

    def kill(self) -> None:
        """kill -9 of the service alone."""
        if self._process and self._process.poll() is None:
            self._process.kill()
        if self._process:
            self._process.wait(10)

    def client(self, **options: object) -> Anthropic:
        """The official SDK, unmodified; it is closed with the service."""
        made = Anthropic(base_url=self.base_url, **{"api_key": self.key, **options})  # type: ignore[arg-type]
        self._clients.append(made)
        return made

    def async_client(self, **options: object) -> AsyncAnthropic:
        return AsyncAnthropic(base_url=self.base_url, **{"api_key": self.key, **options})  # type: ignore[arg-type]

    def http(self, **headers: str) -> httpx.Client:
        """Plain HTTP with the key, for what the SDK cannot send."""
        headers = {"authorization": f"Bearer {self.key}", **headers}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=30, trust_env=False)

    def last_sequences(self) -> dict[str, int]:
        """The last sequence of every stream. It grows when anything is stored."""
        answer = self._plain.get(f"http://{self.monitor}/jsz?streams=true&accounts=true").json()
        streams = [stream for account in answer["account_details"] for stream in account["stream_detail"]]
        return {stream["name"]: stream["state"]["last_seq"] for stream in streams}

    @contextlib.asynccontextmanager
    async def bus(self) -> AsyncGenerator[NatsBus]:
        bus = await connect(ProcessSettings(nats_url=self.nats.url), name="test")
        try:
            yield bus
        finally:
            await bus.close()


@contextlib.contextmanager
def session_service(
    folder: Path, environ: Mapping[str, str] | None = None, *, public_bytes: int | None = None
) -> Generator[SessionService]:
    """A running session service and what it needs; everything ends with the block.

    `public_bytes`: size of the stream of public events; None: there is none.
    """
    edge = SessionService(folder, environ or {})
    edge.nats.start_now()
    try:
        edge.nats.provision(**({} if public_bytes is None else {PUBLIC_BYTES: str(public_bytes)}))
        edge.start()
        yield edge
    finally:
        edge.close()
        edge.nats.kill()


@contextlib.contextmanager
def replica(edge: SessionService, folder: Path, environ: Mapping[str, str] | None = None) -> Generator[SessionService]:
    """A second session service on the same bus."""
    second = SessionService(folder, environ or {}, edge)
    try:
        second.start()
        yield second
    finally:
        second.close()


def envelope(response: httpx.Response, status: int, kind: str) -> str:
    """Check that the answer is the error envelope, and return its message."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["request_id"] == response.headers["request-id"]
    assert body["request_id"].startswith("req_")
    assert "Traceback" not in response.text
    return body["error"]["message"]
