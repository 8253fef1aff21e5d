"""What the figures run on: `holdfast up` as its users start it, with the scripted model in bench mode behind it.

The load comes from this process. Clocks: everything runs on one machine, so Unix time read by different processes can
be subtracted.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvloop
from anthropic import AsyncAnthropic

from holdfast.bus import events as ev
from holdfast.bus.ids import FIRST_CELL, Key, new_id
from holdfast.bus.inputs import ClientInput
from holdfast.bus.jetstream.accounts import STATE_OF_ACCOUNT
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.settings import credentials
from holdfast.scripted_model.journal import Record
from tests.support.model import Json, ScriptedModel, scripted_model
from tests.support.stack import Stack, key

T = TypeVar("T")

MODEL = "claude-opus-4-6"

KINDS = ("anthropic", "messages")
"""Kinds of the client with which a harness calls the model, that some figures compare."""

TOOLSET: Json = {"type": "agent_toolset_20260401"}

HELLO = "hello"
ECHO = "echo"

RETRIES = {
    "HOLDFAST_RETRY_FIRST": "0.5",
    "HOLDFAST_RETRY_MOST": "60",
    "HOLDFAST_MODEL_ATTEMPTS": "8",
    "HOLDFAST_MODEL_PATIENCE": "21600",
}
"""The defaults of the product again: the fixture of the tests shortens them."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to run. `folder` holds everything the run writes and is removed after it."""

    folder: Path
    quick: bool = False
    sync: str = "always"
    model: str = "anthropic"
    """Kind of the client with which the harnesses call the model."""

    @property
    def environ(self) -> dict[str, str]:
        """Settings of every stack."""
        return {"HOLDFAST_MODEL": self.model}

    def count(self, full: int, quick: int) -> int:
        return quick if self.quick else full


class Rig:
    """One running stack with its model."""

    def __init__(self, options: Options, stack: Stack, model: ScriptedModel) -> None:
        self.options = options
        self.stack = stack
        self.model = model

    # --- clients -----------------------------------------------------------------------------------------------------

    def client(self) -> contextlib.AbstractAsyncContextManager[AsyncAnthropic]:
        """The official SDK at the edge."""
        return self.stack.client(retries=0)

    def direct(self) -> AsyncAnthropic:
        """The same SDK at the model itself: the floor of everything that calls a model."""
        return AsyncAnthropic(base_url=self.model.base_url, api_key=self.stack.model_key, max_retries=0)

    def bus(self, user: str = "session") -> contextlib.AbstractAsyncContextManager[NatsBus]:
        """The bus with the rights of that service."""
        return self.stack.bus(user)

    @contextlib.asynccontextmanager
    async def link(self, user: str) -> AsyncGenerator[JetStreamClient]:
        """A bare connection with the rights of that user."""
        link = JetStreamClient()
        run = self.stack.run
        await link.open([run.nats_url], name="bench", login=credentials(run.credentials[user]))
        try:
            yield link
        finally:
            await link.close()

    async def messages_in(self) -> int:
        """Messages that all services have sent to nats-server so far, requests and acknowledgements too.

        Each user is told of its own account.
        """
        total = 0
        for user in ("admin", "harness", "sandbox"):
            async with self.link(user) as link:
                got = await link.ask(STATE_OF_ACCOUNT)
            total += int(msgspec.json.decode(got.data)["data"]["account_statz"][0]["received"]["msgs"])
        return total

    # --- sessions ----------------------------------------------------------------------------------------------------

    async def sessions(self, client: AsyncAnthropic, count: int, *, tools: bool = True) -> list[str]:
        """That many new sessions of one agent."""
        given: Any = [TOOLSET] if tools else []
        agent = await client.beta.agents.create(model=MODEL, name=new_id("bench"), tools=given)
        environment = await client.beta.environments.create(name=new_id("bench"))
        made: list[str] = []
        for _ in range(count):
            session = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
            made.append(session.id)
        return made

    async def forget(self, client: AsyncAnthropic, sessions: list[str]) -> None:
        """Archive: their sandboxes end, so that they do not weigh on what is measured next."""
        for session in sessions:
            await client.beta.sessions.archive(session)

    # --- the model's journal -----------------------------------------------------------------------------------------

    async def scenario(self, *steps: Json) -> str:
        return await self.model.play(*steps)

    async def records(self, mark: str, *, count: int = 0, ended: int = 0, within: float = 60) -> list[Record]:
        """The requests that carry the mark, in order."""
        return await self.model.requests(mark, count=count, ended=ended, within=within)


def said(scenario: str, mark: str = "") -> Json:
    """What a client sends to start a scenario; `mark` is how its requests are found again."""
    text = f"Go on. [play:{scenario}]" + (f" [play:{mark}]" if mark else "")
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


def new_mark() -> str:
    """A fresh name by which requests are found in the journal of the model."""
    return new_id("mark").replace("_", "-")


def message(scenario: str, mark: str = "") -> ClientInput:
    """The same as an input of the bus."""
    content = said(scenario, mark)["content"]
    return ClientInput(id=new_id("inp"), events=[ev.UserMessage(id=new_id("sevt"), content=content)])


async def rested(bus: NatsBus, session: Key, after: int) -> int:
    """Wait until the session rests in a commit above `after`, and return its sequence."""
    async for stored in bus.log.tail(session, after):
        if stored is None:
            continue
        head = stored.commit.head
        if stored.seq > after and head.claim is None and head.status == "idle" and head.taken.inputs:
            return stored.seq
    raise AssertionError("a tail does not end")


async def publishes(rig: Rig, count: int, *, size: int = 400) -> list[float]:
    """The floor of the bus: seconds of one publish to a stream, acknowledged, one after the other."""
    body = b"x" * size
    name = new_id("floor")
    found: list[float] = []
    async with rig.link("harness") as link:
        for number in range(count + 20):
            begin = time.perf_counter()
            await link.store(f"$KV.snap.{FIRST_CELL}.bench.{name}-{number}", body, {})
            found.append(time.perf_counter() - begin)
    return found[20:]


def ms(seconds: list[float]) -> list[float]:
    return [s * 1000 for s in seconds]


class Bench:
    """Gives figures their stacks. In a quick run they share one, because starting takes longer than measuring."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._shared = contextlib.ExitStack()
        self._running: Rig | None = None
        self._count = 0

    @contextlib.contextmanager
    def rig(self, *, harnesses: int = 2, environ: Mapping[str, str] | None = None, own: bool = False) -> Generator[Rig]:
        """A running stack. `own`: for this figure alone, because it breaks or measures the processes."""
        if own or not self.options.quick:
            with self._start(harnesses, environ or {}) as rig:
                yield rig
            return
        if self._running is None:
            self._running = self._shared.enter_context(self._start(harnesses, environ or {}))
        yield self._running

    @contextlib.contextmanager
    def _start(self, harnesses: int, environ: Mapping[str, str]) -> Generator[Rig]:
        self._count += 1
        folder = self.options.folder / f"stack-{self._count}"
        folder.mkdir()
        with scripted_model("--bench", log=folder / "model.log") as model:
            stack = Stack(
                folder / "data",
                model,
                {**RETRIES, **self.options.environ, **environ},
                harnesses,
                sync=self.options.sync,
            )
            stack.start()
            rig = Rig(self.options, stack, model)
            try:
                yield rig
            finally:
                stack.kill_all()

    def close(self) -> None:
        self._shared.close()


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run on the event loop that the services use."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


def session_key(session: str) -> Key:
    return key(session)
