"""A real OpenBao for tests, as `holdfast up` configures it, and the vault service in front of it."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.cli.embedded import bao_config, openbao
from holdfast.cli.embedded.layout import Layout
from holdfast.cli.embedded.ports import free_port
from holdfast.cli.embedded.probes import http_status
from holdfast.process.settings import ProcessSettings
from tests.support.eventually import eventually
from tests.support.servers import NatsServer, nats_server


class BaoServer:
    """One OpenBao server. It can be killed and started again with the same port and data."""

    def __init__(self, data: Path) -> None:
        self.layout = Layout(data)
        self.layout.open()
        self.port = free_port()
        self._config = openbao.write_config(self.layout, self.port, free_port())
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def audit_log(self) -> Path:
        return self.layout.logs / "bao-audit.log"

    @property
    def log(self) -> Path:
        return self.layout.logs / "bao.log"

    def environ(self) -> dict[str, str]:
        """The settings with which a vault service finds this server."""
        return {
            "HOLDFAST_VAULT_URL": self.url,
            "HOLDFAST_VAULT_CA_FILE": str(openbao.certificate(self.layout)),
            "HOLDFAST_VAULT_ROLE_ID": bao_config.ROLE_ID,
            "HOLDFAST_VAULT_SECRET_ID_FILE": str(self.layout.secrets / "bao-vault.secret"),
        }

    async def status(self) -> int:
        """HTTP status of /v1/sys/health: 200 is active, 503 is sealed; 0 if it does not answer."""
        return await http_status(self.port, "/v1/sys/health", openbao.trust(self.layout))

    def spawn(self) -> None:
        """Start the process, and return at once."""
        with self.log.open("ab") as log:
            argv = [openbao.binary(), "server", "-config", str(self._config)]
            self._process = subprocess.Popen(
                argv, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], **openbao.ENVIRONMENT}
            )

    async def start(self) -> None:
        """Start the process, and return when it is active."""
        self.spawn()

        async def active() -> bool:
            return await self.status() == 200

        await eventually(active, what="OpenBao active", within=30)

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end of the process. Does nothing if none runs."""
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None


class VaultStack:
    """nats-server, OpenBao and one vault service."""

    def __init__(self, nats: NatsServer, bao: BaoServer, folder: Path) -> None:
        self.nats = nats
        self.bao = bao
        self.log = folder / "vault.log"
        self.health_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environ: str) -> None:
        """Start the vault service. `environ` overrides its settings."""
        settings = {
            "PATH": os.environ["PATH"],
            "HOLDFAST_NATS_URL": self.nats.url,
            "HOLDFAST_HEALTH_PORT": str(self.health_port),
            **self.bao.environ(),
            **environ,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "holdfast.vault"], env=settings, stdout=log, stderr=log
            )

    async def wait_for_readiness(self, status: int) -> None:
        """Wait until /readyz of the vault service answers with that HTTP status."""

        async def has_status() -> bool:
            return await http_status(self.health_port, "/readyz") == status

        await eventually(has_status, what=f"/readyz {status}", within=20)

    def stop(self) -> int:
        """Send SIGTERM to the vault service; returns its exit code."""
        assert self.process
        self.process.terminate()
        return self.process.wait(15)

    @contextlib.asynccontextmanager
    async def bus(self) -> AsyncGenerator[NatsBus]:
        """A connection to the bus of this stack."""
        bus = await asyncio.wait_for(connect(ProcessSettings(nats_url=self.nats.url), name="test"), 10)
        try:
            yield bus
        finally:
            await bus.close()


@contextlib.asynccontextmanager
async def vault_stack(folder: Path) -> AsyncGenerator[VaultStack]:
    """A stack whose three processes run and are ready. They are killed at the end of the block."""
    bao = BaoServer(folder / "bao")
    async with nats_server(folder / "nats", provisioned=False) as nats:
        stack = VaultStack(nats, bao, folder)
        try:
            await bao.start()
            stack.start()
            await stack.wait_for_readiness(200)
            yield stack
        finally:
            if stack.process:
                stack.process.kill()
                stack.process.wait(10)
            bao.kill()
