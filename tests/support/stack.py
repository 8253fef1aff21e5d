"""The whole system as `holdfast up` starts it, on a folder of the test, with the scripted model behind it."""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from pathlib import Path

import psutil
from anthropic import AsyncAnthropic

from holdfast.bus.ids import Key
from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.cli.embedded.runfile import RunFile, read
from holdfast.process.settings import ProcessSettings
from tests.support.eventually import eventually
from tests.support.isolation import require_sandbox
from tests.support.model import ScriptedModel, scripted_model

TENANT = "default"
READY_WITHIN = 60.0
STOP_WITHIN = 20.0

QUICK = {
    "HOLDFAST_RETRY_FIRST": "0.05",
    "HOLDFAST_RETRY_MOST": "0.2",
    "HOLDFAST_MODEL_ATTEMPTS": "4",
    "HOLDFAST_MODEL_PATIENCE": "0",
    "HOLDFAST_LEASE": "3",
}
"""Settings with which a test need not wait for what a user would."""


class Stack:
    """One stack. Processes are named as in run.json; every signal goes to one process, by its id."""

    def __init__(
        self, data: Path, model: ScriptedModel, environ: Mapping[str, str], harnesses: int, *, sync: str = "2m"
    ) -> None:
        self.data = data
        self.model = model
        self.model_key = "sk-ant-canary-" + secrets.token_hex(16)
        """The key of the model: it may stand in one file of the stack, and nowhere else."""
        self._environ = environ
        self._harnesses = harnesses
        self._sync = sync
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def run(self) -> RunFile:
        """What run.json says now."""
        found = read(self.data / "run.json")
        assert found, "the stack does not run"
        return found

    @property
    def log(self) -> Path:
        return self.data / "up.log"

    def start(self, faults: Mapping[str, str] | None = None) -> None:
        """Start, and return when all is ready. `faults` are fault points by process, for its first start only."""
        self.data.mkdir(parents=True, exist_ok=True)
        armed = {"HOLDFAST_FAULT_" + name.upper().replace("-", "_"): spec for name, spec in (faults or {}).items()}
        environ = {
            "PATH": os.environ["PATH"],
            "ANTHROPIC_BASE_URL": self.model.base_url,
            "ANTHROPIC_API_KEY": self.model_key,
            **QUICK,
            **self._environ,
            **armed,
        }
        argv = [str(Path(sys.executable).parent / "holdfast"), "up", "--data", str(self.data), "--port", "0"]
        argv += ["--harnesses", str(self._harnesses), "--sync", self._sync]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=environ, start_new_session=True)
        deadline = time.monotonic() + READY_WITHIN
        while read(self.data / "run.json") is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill_all()
                raise RuntimeError(f"the stack did not start:\n{self.log.read_text()[-4000:]}{self._logs()}")
            time.sleep(0.02)

    def _logs(self) -> str:
        files = sorted((self.data / "logs").glob("*.log"))
        return "".join(f"\n--- {f.name}\n{f.read_text(errors='replace')[-1500:]}" for f in files)

    def stop(self) -> None:
        """As Ctrl-C does; raises AssertionError when it does not end in time or not well."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            assert self._process.wait(STOP_WITHIN) == 0, self.log.read_text()[-4000:]
        finally:
            self.kill_all()

    def kill_all(self) -> None:
        """kill -9 of every process at once, the supervisor first so that it restarts nothing."""
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            children = parent.children(recursive=True)
            for process in [parent, *children]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(children, timeout=10)
        self._process.wait(10)
        self._process = None
        (self.data / "run.json").unlink(missing_ok=True)

    def pid(self, name: str) -> int:
        return self.run.processes[name]

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to the process of that name, and return its id."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def kill(self, name: str) -> int:
        """kill -9; returns the id it had."""
        return self.signal(name, signal.SIGKILL)

    async def replaced(self, name: str, old: int) -> int:
        """Wait until the process of that name is another one than `old` and ready; returns its id."""

        async def look() -> int:
            found = read(self.data / "run.json")
            pid = found.processes.get(name, old) if found else old
            return pid if pid != old else 0

        return await eventually(look, what=f"a new {name}", within=30)

    async def stopped(self, *names: str) -> str:
        """Wait until one of these processes has stopped itself (SIGSTOP); returns its name."""

        async def look() -> str:
            for name in names:
                pid = self.run.processes.get(name)
                with contextlib.suppress(psutil.NoSuchProcess):
                    if pid and psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                        return name
            return ""

        return await eventually(look, what=f"one of {names} stopped")

    async def driver(self, session: str) -> str:
        """The harness that drives the session now: the name in its claim, without what is new with each start."""

        async def look() -> str:
            async with self.bus() as bus:
                stored = await bus.log.head(key(session), leader=True)
            claim = stored.commit.head.claim if stored else None
            return claim.by.rpartition("-")[0] if claim else ""

        return await eventually(look, what="a claim")

    @contextlib.asynccontextmanager
    async def client(self, retries: int = 2) -> AsyncGenerator[AsyncAnthropic]:
        """The official SDK, unmodified."""
        run = self.run
        async with AsyncAnthropic(base_url=run.base_url, api_key=run.api_key, max_retries=retries) as client:
            yield client

    @contextlib.asynccontextmanager
    async def bus(self, user: str = "admin") -> AsyncGenerator[NatsBus]:
        """The bus with the credentials of that user."""
        run = self.run
        settings = ProcessSettings(nats_url=run.nats_url, nats_credentials=run.credentials[user])
        bus = await asyncio.wait_for(connect(settings, name="test"), 10)
        try:
            yield bus
        finally:
            await bus.close()


@contextlib.contextmanager
def stack(
    folder: Path,
    *,
    faults: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    harnesses: int = 2,
) -> Generator[Stack]:
    """A running stack with a scripted model of its own; everything ends with the block. Needs a sandbox."""
    require_sandbox()
    with scripted_model(log=folder / "model.log") as model:
        made = Stack(folder / "data", model, environ or {}, harnesses)
        made.start(faults)
        try:
            yield made
        finally:
            made.kill_all()


def key(session: str) -> Key:
    """The session as the bus names it; the embedded stack has one tenant."""
    return Key(TENANT, session)
