"""Harness services as real processes of their own, beside or instead of those that `holdfast up` starts."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from holdfast.cli.embedded.ports import free_port
from tests.support.eventually import eventually


class HarnessProcess:
    """A process `python -m holdfast.harness` named `name`, with a log file of its own in `folder`.

    `python` may be that of another installation, so that another version runs; `service` another service than this.
    """

    def __init__(
        self, folder: Path, *, name: str, environ: Mapping[str, str], python: str = sys.executable,
        service: str = "harness",
    ) -> None:  # fmt: skip
        """`environ` needs HOLDFAST_NATS_URL, and HOLDFAST_MODEL_BASE_URL for a harness."""
        self.name = name
        self._log = folder / f"{name}.log"
        self._port = free_port()
        self._argv = [python, "-P", "-m", f"holdfast.{service}"]
        self._environ = {
            "PATH": os.environ["PATH"], **environ, "HOLDFAST_NAME": name, "HOLDFAST_HEALTH_PORT": str(self._port),
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def begin(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log, env=self._environ)

    async def start(self) -> None:
        """Start it and return when it is ready."""
        self.begin()
        await eventually(self.ready, within=30, what=f"{self.name} ready; {self.log()[-2000:]}")

    async def ready(self) -> bool:
        report = await self.report()
        return bool(report.get("ok"))

    async def report(self) -> dict[str, Any]:
        """The body of /readyz; empty while nothing listens."""
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return json.loads((await client.get(f"http://127.0.0.1:{self._port}/readyz")).text)
            except httpx.TransportError:
                return {}

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def terminate(self) -> None:
        """SIGTERM: it hands its sessions over."""
        assert self._process
        self._process.terminate()

    def wait(self) -> int:
        """Wait until it has ended; returns the exit code."""
        assert self._process
        return self._process.wait(20)

    def kill(self) -> None:
        """kill -9, and wait for it."""
        if self._process and self._process.poll() is None:
            self._process.kill()
        if self._process:
            self._process.wait(10)
