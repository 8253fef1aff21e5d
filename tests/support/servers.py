"""A real nats-server for tests, on a free port of loopback."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from holdfast.bus import streams
from holdfast.cli.embedded.ports import free_port

BINARY = Path(sys.executable).parent / "nats-server"
ROOT = Path(__file__).parents[2]


class NatsServer:
    """One nats-server with JetStream in `store`. It can be killed and started again with the same port and store."""

    def __init__(self, store: Path, *, config: str = "", max_file: str = "4GB") -> None:
        self.store = store
        self.port = free_port()
        self._config = config
        self._max_file = max_file
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    async def start(self, *, within: float = 20.0) -> None:
        """Start without blocking the event loop; see `start_now`."""
        await asyncio.to_thread(self.start_now, within)

    def start_now(self, within: float = 20.0) -> None:
        """Start, and return when it accepts connections.

        Raises RuntimeError with the end of its log if it does not within that many seconds.
        """
        file = self._write_config()
        with (self.store / "nats.log").open("ab") as log:
            self._process = subprocess.Popen([BINARY, "-c", file], stdout=log, stderr=log)
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"nats-server did not start: {(self.store / 'nats.log').read_text()[-2000:]}")

    def _write_config(self) -> Path:
        self.store.mkdir(parents=True, exist_ok=True)
        file = self.store / "nats.conf"
        file.write_text(
            f'listen: "127.0.0.1:{self.port}"\nmax_payload: {streams.MAX_MESSAGE_BYTES}\nmax_pending: 256MB\n'
            f'jetstream {{ store_dir: "{self.store}/js", max_mem: 256MB, max_file: {self._max_file} }}\n{self._config}'
        )
        return file

    def reload_now(self, config: str, within: float = 20.0) -> None:
        """Give the running server another configuration, and return when it has taken it. Raises AssertionError."""
        self._config = config
        self._write_config()
        log = self.store / "nats.log"
        before = log.read_text().count("Reloaded server configuration")
        self.signal(signal.SIGHUP)
        deadline = time.monotonic() + within
        while log.read_text().count("Reloaded server configuration") == before:
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.02)

    def provision(self, **settings: str) -> None:
        """Create all streams and buckets, with the command that administrators use. Raises CalledProcessError."""
        environ = {**os.environ, "HOLDFAST_NATS_URL": self.url, **settings}
        command = [sys.executable, "-m", "holdfast.bus.jetstream.provision"]
        subprocess.run(command, env=environ, check=True, capture_output=True, cwd=ROOT, timeout=60)

    def run_service(self, service: str, **settings: str) -> tuple[int, str]:
        """Run a service of ours on this server until it ends by itself; its exit code and its log."""
        environ = {"PATH": os.environ["PATH"], "HOLDFAST_NATS_URL": self.url, **settings}
        command = [sys.executable, "-m", f"holdfast.{service}"]
        done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True, cwd=ROOT, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end of the process. Does nothing if it has ended."""
        if self._process and self._process.poll() is None:
            self._process.kill()
        if self._process:
            self._process.wait(10)

    def stop(self) -> None:
        """Send SIGTERM, and wait for the end of the process. Does nothing if it has ended."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)


@contextlib.asynccontextmanager
async def nats_server(store: Path, *, config: str = "", provisioned: bool = True) -> AsyncIterator[NatsServer]:
    """A running nats-server, with all streams and buckets unless `provisioned` is False. Killed at the end."""
    server = NatsServer(store, config=config)
    await server.start()
    try:
        if provisioned:
            await asyncio.to_thread(server.provision)
        yield server
    finally:
        server.kill()
