"""Real servers for tests: loopback, a free port, stopped by the id of the process."""

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

from services.bus import provision, streams
from services.bus.nats_link import Link

BINARY = Path(sys.executable).parent / "nats-server"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class NatsServer:
    """One nats-server with JetStream under `store`; it can be killed and started again on the same port and store."""

    def __init__(self, store: Path, *, config: str = "") -> None:
        self.store = store
        self.port = free_port()
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    async def start(self, *, within: float = 20.0) -> None:
        """Start, and return when it accepts connections. Raises RuntimeError with the end of its log."""
        self.store.mkdir(parents=True, exist_ok=True)
        file = self.store / "nats.conf"
        file.write_text(
            f'listen: "127.0.0.1:{self.port}"\nmax_payload: {streams.MAX_MESSAGE}\nmax_pending: 256MB\n'
            f'jetstream {{ store_dir: "{self.store}/js", max_mem: 256MB, max_file: 4GB }}\n{self._config}'
        )
        with (self.store / "nats.log").open("ab") as log:
            self._process = subprocess.Popen([BINARY, "-c", file], stdout=log, stderr=log)  # noqa: ASYNC220
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(0.02)
        self.kill()
        raise RuntimeError(f"nats-server did not start: {(self.store / 'nats.log').read_text()[-2000:]}")

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and wait for it to be gone."""
        if self._process and self._process.poll() is None:
            self._process.kill()
        if self._process:
            self._process.wait(10)

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)


@contextlib.asynccontextmanager
async def nats_server(store: Path, *, config: str = "", provisioned: bool = True) -> AsyncIterator[NatsServer]:
    """A running nats-server, by default with all streams and buckets."""
    server = NatsServer(store, config=config)
    await server.start()
    try:
        if provisioned:
            link = Link()
            await link.open([server.url], name="provision", login=None)
            await provision.provision(link, "a0")
            await link.close()
        yield server
    finally:
        server.kill()
