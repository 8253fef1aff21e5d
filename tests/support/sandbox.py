"""A session that a test drives in place of a harness, and sandbox workers as real processes."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Answer, Cancel, Confirm, Execute, Provision, Provisioned, Release
from holdfast.bus.commits import Stored, commit
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.inputs import CallResult, HandGone
from holdfast.bus.tools import SANDBOX
from holdfast.cli.embedded.ports import free_port
from holdfast.harness.tools.hand_client import HandClient
from tests.support.eventually import eventually
from tests.support.isolation import sandbox_environment


class DrivenSession:
    """One session as its harness sees it: opens calls in the log, sends them, reads results from the inbox."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.key = Key("default", new_session_id())
        self.sandbox = Provisioned()
        self._last: Stored | None = None

    async def _append(self, *events: ev.Event) -> None:
        now = time.time_ns() // 1000
        new = commit(self._last, events, by="test", new_id=new_id, now=now)
        seq = await self.bus.log.append(self.key, new, self._last.seq if self._last else 0)
        self._last = Stored(seq, new)

    async def begin(self) -> None:
        """Append the creation commit."""
        config = ev.SessionConfig(
            id=new_id("sevt"), tenant=self.key.tenant, agent={}, environment_id="env_x", environment={},
            primary_thread=new_id("sthr"),
        )  # fmt: skip
        await self._append(config)

    async def provision(self, *, timeout: float = 30.0) -> Provisioned:  # noqa: ASYNC109
        """Request the sandbox; the log is not changed."""
        ask = Provision(tenant=self.key.tenant, session=self.key.session, hand=SANDBOX)
        raw = await self.bus.core.request(
            subjects.provision(FIRST_CELL, SANDBOX), msgspec.json.encode(ask), timeout=timeout
        )
        return msgspec.json.decode(raw, type=Provisioned)

    async def provision_anywhere(self) -> Provisioned:
        """Request the sandbox as the harness does: from the workers too that a worker names when it declines."""
        return await HandClient(self.bus, self.key).provision(SANDBOX, log_seq=0)

    async def bind(self) -> Provisioned:
        """Request the sandbox and bind it in the log (rule 12)."""
        return await self.bind_to(await self.provision())

    async def bind_to(self, provisioned: Provisioned) -> Provisioned:
        """Bind that sandbox in the log."""
        self.sandbox = provisioned
        assert not self.sandbox.error, self.sandbox.message
        bound = ev.HandBound(
            id=new_id("sevt"), hand=SANDBOX, generation=self.sandbox.generation, worker=self.sandbox.worker
        )  # fmt: skip
        await self._append(bound)
        return self.sandbox

    async def lose(self) -> None:
        """Log that the generation is lost, with a result for each open call (rule 15)."""
        lost = ev.HandLost(hand=SANDBOX, id=new_id("sevt"), generation=self.sandbox.generation, reason="gone")
        calls = self._last.commit.head.calls if self._last else ()
        await self._append(*[ev.AgentToolResult(id=new_id("sevt"), tool_use_id=c.id) for c in calls], lost)

    async def delete(self) -> None:
        """Log that the session is deleted; no worker is asked to remove its files."""
        await self._append(ev.SessionDeleted(id=new_id("sevt")))

    async def open(self, name: str, arguments: dict[str, Any]) -> str:
        """Append a call that is ready to run. Returns its id."""
        use = ev.AgentToolUse(id=new_id("sevt"), name=name, input=arguments, hand=SANDBOX)
        await self._append(use)
        return use.id

    async def execute(
        self, call: str, name: str, arguments: dict[str, Any], *, generation: str = "", timeout: float = 5.0  # noqa: ASYNC109
    ) -> str:  # fmt: skip
        """Send the call. Returns the answer of the worker; a result in it is not confirmed."""
        return (await self.ask(call, name, arguments, generation=generation, timeout=timeout)).answer

    async def ask(
        self, call: str, name: str, arguments: dict[str, Any], *, generation: str = "", timeout: float = 5.0  # noqa: ASYNC109
    ) -> Answer:  # fmt: skip
        """As `execute`, but returns the whole answer."""
        ask = Execute(
            tenant=self.key.tenant, session=self.key.session, call=call, name=name, input=arguments,
            generation=generation or self.sandbox.generation,
        )  # fmt: skip
        raw = await self.bus.core.request(
            subjects.execute(FIRST_CELL, self.sandbox.worker), msgspec.json.encode(ask), timeout=timeout
        )  # fmt: skip
        return msgspec.json.decode(raw, type=Answer)

    async def confirm(self, call: str) -> None:
        """Say that the result in an answer is in the log (rule 13)."""
        done = Confirm(
            tenant=self.key.tenant, session=self.key.session, call=call, generation=self.sandbox.generation
        )  # fmt: skip
        await self.bus.core.publish(subjects.confirm(FIRST_CELL, self.sandbox.worker), msgspec.json.encode(done))

    async def cancel(self, call: str) -> str:
        ask = Cancel(
            tenant=self.key.tenant, session=self.key.session, call=call, generation=self.sandbox.generation
        )  # fmt: skip
        raw = await self.bus.core.request(
            subjects.cancel(FIRST_CELL, self.sandbox.worker), msgspec.json.encode(ask), timeout=5.0
        )
        return msgspec.json.decode(raw, type=Answer).answer

    async def release(self, *, files: bool) -> str:
        ask = Release(tenant=self.key.tenant, session=self.key.session, files=files)
        raw = await self.bus.core.request(subjects.release(FIRST_CELL), msgspec.json.encode(ask), timeout=10.0)
        return msgspec.json.decode(raw, type=Answer).answer

    async def results(self) -> list[CallResult]:
        """All results in the inbox."""
        waiting = await self.bus.inbox.pending(self.key)
        return [entry.input for entry in waiting if isinstance(entry.input, CallResult)]

    async def gone(self, *, within: float = 20.0) -> HandGone:
        """Wait until the inbox says that the present generation is gone."""

        async def look() -> HandGone | None:
            found = [p.input for p in await self.bus.inbox.pending(self.key) if isinstance(p.input, HandGone)]
            return next((gone for gone in found if gone.generation == self.sandbox.generation), None)

        found = await eventually(look, within=within, what=f"the end of {self.sandbox.generation}")
        assert found is not None
        return found

    async def result(self, call: str, *, within: float = 20.0) -> CallResult:
        """Wait for the result of that call."""

        async def look() -> CallResult | None:
            return next((found for found in await self.results() if found.id == call), None)

        found = await eventually(look, within=within, what=f"result of {call}")
        assert found is not None
        return found

    async def run(self, name: str, arguments: dict[str, Any]) -> CallResult:
        """Open and execute a call, and wait for its result, which comes in the answer or to the inbox."""
        call = await self.open(name, arguments)
        answer = await self.ask(call, name, arguments)
        if answer.answer == "accepted":
            return await self.result(call)
        assert answer.answer == "result"
        await self.confirm(call)
        return CallResult(
            id=call,
            generation=self.sandbox.generation,
            content=answer.content,
            is_error=answer.is_error,
            lost=answer.lost,
        )

    async def bash(self, command: str) -> str:
        return text_of(await self.run("bash", {"command": command}))


def text_of(result: CallResult) -> str:
    return "".join(block.get("text", "") for block in result.content)


class WorkerProcess:
    """A process `python -m holdfast.sandbox` with a log file of its own."""

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        name: str = "sandbox",
        prefix: Sequence[str] = (),
        **settings: str | float | Path,
    ) -> None:
        self.folder = folder
        self._prefix = prefix
        self.port = free_port()
        self._log = folder / f"{name}.log"
        self.data = Path(str(settings.pop("data_dir", folder / "sandbox-data")))
        self._environment = {
            **os.environ,
            **sandbox_environment(),
            "HOLDFAST_NATS_URL": url,
            "HOLDFAST_DATA_DIR": str(self.data),
            "HOLDFAST_HEALTH_PORT": str(self.port),
            "HOLDFAST_LEASE": "3",  # so that a test waits for its end no longer than it must
            **{f"HOLDFAST_{key.upper()}": str(value) for key, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def begin(self) -> None:
        """Start it."""
        command = [*self._prefix, sys.executable, "-m", "holdfast.sandbox"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)

    async def start(self) -> None:
        """Start it and return when it is ready."""
        self.begin()
        await eventually(self.ready, within=30, what=f"worker readiness; {self.log()[-2000:]}")

    async def ready(self) -> bool:
        return (await self.probe())[0] == 200

    async def probe(self) -> tuple[int, dict[str, Any]]:
        """Status and body of /readyz; 0 while nothing listens."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return 0, {}
        writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
        data = await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        head, _, body = data.partition(b"\r\n\r\n")
        return (int(head.split()[1]), json.loads(body)) if head else (0, {})

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and wait for it."""
        if self._process and self._process.poll() is None:
            self._process.kill()
        if self._process:
            self._process.wait(10)

    def wait(self) -> int:
        """Wait at most 20 s until the process ends by itself; returns the exit code."""
        assert self._process
        return self._process.wait(20)

    async def stop(self) -> int:
        """Send SIGTERM; returns the exit code."""
        assert self._process
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait, 20)


@contextlib.asynccontextmanager
async def sandbox_worker(
    url: str, folder: Path, *, name: str = "sandbox", **settings: str | float | Path
) -> AsyncIterator[WorkerProcess]:
    """A ready worker; killed when the block ends."""
    worker = WorkerProcess(url, folder, name=name, prefix=(), **settings)
    try:
        await worker.start()
        yield worker
    finally:
        worker.kill()
