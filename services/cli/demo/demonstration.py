"""The demo itself. It uses the SDK for everything that a user of the SDK could do."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import anthropic
import uvloop
from anthropic import AsyncAnthropic
from anthropic.types.beta import BetaManagedAgentsSession
from rich.console import Console

from holdfast.bus.commits import Stored
from holdfast.bus.errors import BusError
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.client import connect
from holdfast.cli.demo import backend, checks, report, repository
from holdfast.cli.demo.timeline import Timeline
from holdfast.cli.embedded import registry
from holdfast.cli.embedded.model_endpoint import BadEndpoint, Endpoint, OwnEndpoint, OwnStack, choose
from holdfast.cli.embedded.model_variables import KEY, KEY_FILE, URL
from holdfast.cli.exit_codes import INTERRUPTED
from holdfast.cli.models import DEFAULT_MODEL
from holdfast.process.settings import ProcessSettings

TENANT: Final = "default"
KILL_AFTER_DELTAS: Final = 12
"""The harness is killed at this delta of a message, once two tool results are there."""

DEMO_TIMEOUT_S: Final = 600.0
"""Upper bound of the whole demo, also with a real model."""


def run(data: Path | None, model: str | None) -> int:
    """Run the demo and return the exit code. The arguments are those of `holdfast demo`."""
    console = Console(highlight=False)
    try:
        endpoint = _endpoint()
        folder = _folder(data)
    except (BadEndpoint, OSError) as exc:
        return _fail(str(exc))
    is_done = False
    try:
        code = uvloop.run(_demo(console, folder, model or DEFAULT_MODEL, endpoint))
        is_done = code == 0
    except backend.CannotStart as exc:
        return _fail(str(exc), folder)
    except TimeoutError:
        return _fail(f"it did not end within {DEMO_TIMEOUT_S:g} s", folder)
    except (anthropic.APIError, BusError, OSError) as exc:
        return _fail(f"it broke off: {' '.join(str(exc).split())}", folder)
    except KeyboardInterrupt:
        is_done = True
        print("\nholdfast demo: interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        if is_done and data is None:
            shutil.rmtree(folder, ignore_errors=True)
    if code:
        print(f"The logs and the state of the demo are kept in {folder}", file=sys.stderr)
    return code


def _endpoint() -> Endpoint | None:
    """The real model that the variables name; None for the scripted one. Raises BadEndpoint."""
    own = [OwnStack(urlsplit(run.base_url).port or 0, run.api_key) for run in registry.stacks()]
    try:
        found = choose(os.environ, own=own)
    except OwnEndpoint:
        return None  # this shell has the variables of `holdfast env`, which name no model
    return None if found.lacks_key else found


def _folder(data: Path | None) -> Path:
    """An existing folder. Raises OSError."""
    if data is None:
        return Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"--data {data} is a file; name a folder.") from None
    except OSError as exc:
        raise type(exc)(f"--data {data}: {exc.strerror}. Name a folder that this user can make.") from None
    return data.absolute()


def _fail(text: str, folder: Path | None = None) -> int:
    """Print the failure; returns the exit code. A message of `holdfast up` is printed as it is."""
    said = text if text.startswith(("✗", "holdfast")) else f"holdfast demo: {text}"
    print(said, file=sys.stderr)
    if folder:
        print(f"The logs and the state of the demo are kept in {folder}", file=sys.stderr)
    return 1


async def _demo(console: Console, data: Path, model: str, endpoint: Endpoint | None) -> int:
    console.print("An agent repairs a small program, and the process that drives it is killed in mid-sentence.")
    console.print("[dim]Starting Holdfast on this machine (3 to 10 s) …[/]")
    async with contextlib.AsyncExitStack() as running, asyncio.timeout(DEMO_TIMEOUT_S):
        environ: dict[str, str] = {}
        scripted = ""
        if endpoint is None:
            scripted = await running.enter_async_context(backend.scripted(data / "model.log"))
            environ = {URL: scripted, KEY: "scripted", KEY_FILE: ""}
        began = time.monotonic()
        run_file = await running.enter_async_context(backend.stack(data, environ))
        run = backend.running(run_file)
        assert run
        which = "a scripted model (no key, no cost)" if scripted else f"{model} at {run.model_base_url}"
        console.print(f"Ready after {time.monotonic() - began:.1f} s, with {which}.\n")
        async with AsyncAnthropic(base_url=run.base_url, api_key=run.api_key) as client:
            show = _DemoRun(client, run_file, Timeline(console))
            session = await show.create(model)
            repository.seed(show.workspace)
            await show.work(session)
        log = await show.log()
        requests = await checks.model_requests(scripted) if scripted else None
        found = [*checks.check(log, show.sent, show.workspace, requests), show.takeover()]
        console.print()
        report.show(console, found)
        console.print("[dim]Stopping …[/]")
    passed = all(item.holds for item in found)
    report.verdict(console, found)
    if passed:
        report.next_steps(console)
    return 0 if passed else 1


class _DemoRun:
    """One session, watched while the harness that drives it is killed."""

    def __init__(self, client: AsyncAnthropic, run_file: Path, timeline: Timeline) -> None:
        self._client = client
        self._run_file = run_file
        self._timeline = timeline
        self._session = ""
        self._victim = ""
        self._victim_pid = 0
        self._killed_at = 0.0
        self._successor = ""
        self._gap = 0.0
        self.sent: list[str] = []

    @property
    def workspace(self) -> Path:
        return self._run_file.parent / "sandbox" / "workspaces" / TENANT / self._session

    async def create(self, model: str) -> BetaManagedAgentsSession:
        beta = self._client.beta
        agent = await beta.agents.create(
            name="Repairer",
            model=model,
            tools=[{"type": "agent_toolset_20260401"}],
            system="You are a careful engineer.",
        )
        environment = await beta.environments.create(name=f"demo-{time.time_ns()}")
        session = await beta.sessions.create(agent=agent.id, environment_id=environment.id, title="Make the test pass")
        self._session = session.id
        return session

    async def work(self, session: BetaManagedAgentsSession) -> None:
        """Send the task, show all events, and kill the harness in the middle of a sentence. Returns when it is idle."""
        events = self._client.beta.sessions.events
        async with await events.stream(session.id, event_deltas=["agent.message"]) as stream:
            self._timeline.start_clock()
            content: Any = [{"type": "text", "text": repository.TASK}]
            accepted = await events.send(session.id, events=[{"type": "user.message", "content": content}])
            self.sent = [event.id for event in accepted.data or ()]
            results = deltas = 0
            async for event in stream:
                match event.type:
                    case "event_delta":
                        self._timeline.delta(event.event_id, event.delta.content.text)
                        deltas += 1
                        if results >= 2 and deltas >= KILL_AFTER_DELTAS and not self._victim:
                            await self._kill_driver()
                    case "event_start":
                        deltas = 0
                    case _:
                        results += event.type == "agent.tool_result"
                        await self._continued(event)
                        self._timeline.event(event)
                        if event.type == "session.status_idle":
                            return

    async def _kill_driver(self) -> None:
        self._victim = (await self._driver()) or ""
        self._victim_pid = self._pid(self._victim)
        os.kill(self._victim_pid, signal.SIGKILL)
        self._killed_at = time.monotonic()
        text = f"{self._victim}, process {self._victim_pid}, in the middle of its sentence"
        self._timeline.note("kill -9", text)

    def _pid(self, name: str) -> int:
        run = backend.running(self._run_file)
        return run.processes.get(name, 0) if run else 0

    async def _continued(self, event: Any) -> None:
        if self._victim and not self._successor and event.type == "span.model_request_start":
            self._gap = time.monotonic() - self._killed_at
            name = (await self._driver()) or "nobody"
            self._successor = f"{name}, process {self._pid(name)},"
            self._timeline.note("takeover", f"{self._successor} goes on after {self._gap:.2f} s", "bold magenta")

    async def _driver(self) -> str | None:
        log = await self.log(head_only=True)
        claim = log[-1].commit.head.claim if log else None
        return claim.by.rpartition("-")[0] if claim else None

    async def log(self, *, head_only: bool = False) -> Sequence[Stored]:
        """The commits of the session's log; with `head_only` the last one."""
        run = backend.running(self._run_file)
        assert run
        settings = ProcessSettings(nats_url=run.nats_url, nats_credentials=run.credentials["admin"])
        bus = await connect(settings, name="demo")
        try:
            key = Key(TENANT, self._session)
            if not head_only:
                return await bus.log.read(key, leader=True)
            head = await bus.log.head(key, leader=True)
            return [head] if head else []
        finally:
            await bus.close()

    def takeover(self) -> checks.Check:
        """The check that another harness continued, and after how long."""
        if not self._victim:
            return checks.Check("a harness was killed", False, "the agent was done before the kill")
        other = bool(self._successor) and f"process {self._victim_pid}," not in self._successor
        return checks.Check("another process continued", other, f"{self._successor} after {self._gap:.2f} s")
