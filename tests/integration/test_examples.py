"""The programs of `examples/` that speak NATS, in three languages, against `holdfast up`. Run where the toolchain is.

Each publishes a task and waits for the end of its turn, then another one follows what the turn has shown. Node.js needs
npm, which fetches the client of NATS once. Go needs it as Debian packages it (golang-github-nats-io-go-nats-dev).
"""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic

from holdfast.bus.ids import new_id
from tests.support.conversation import MODEL
from tests.support.eventually import eventually
from tests.support.markdown import blocks
from tests.support.model import say
from tests.support.stack import Stack, stack
from tests.support.toolchains import EXAMPLES, toolchain

pytestmark = pytest.mark.timeout(240)  # the compiler of Go compiles its whole library at first

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environ = {
        "HOLDFAST_PUBLIC_EVENTS_BYTES": "100000000",
        "HOLDFAST_READERS": "py:default:>,ts:default:>,go:default:>",
    }
    with stack(tmp_path_factory.mktemp("stack"), environ=environ, harnesses=1) as made:
        yield made


async def bind(client: AsyncAnthropic) -> str:
    """A binding whose tasks say `what` to an agent; returns its kind."""
    name = new_id("kind").replace("_", "-")
    agent = await client.beta.agents.create(model=MODEL, name=name)
    environment = await client.beta.environments.create(name=name)
    body = {"kind": name, "agent": agent.id, "environment_id": environment.id, "message": "{{what}}"}
    await client.post("/v1/bindings", cast_to=object, body=body)
    return name


def output_of(argv: list[str | Path], environ: dict[str, str]) -> str:
    """What the program prints until it ends."""
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def begin(argv: list[str | Path], environ: dict[str, str], out: Path) -> subprocess.Popen[bytes]:
    """Start a program, with its output in a file."""
    with out.open("wb") as output:
        return subprocess.Popen(argv, env=environ, stdout=output, stderr=output, process_group=0)


@pytest.mark.parametrize("language", ["py", "ts", "go"])
async def test_a_task_is_published_and_its_turn_followed(running: Stack, tmp_path: Path, language: str) -> None:
    tools = toolchain(language, nats=True)
    environ = {**os.environ, **tools.environ}
    mark = await running.model.play(say("Done."))
    async with running.client() as client:
        kind = await bind(client)
        publish = tools.folder / f"publish_task.{language}"
        task = json.dumps({"what": f"[play:{mark}]"})
        argv: list[str | Path] = [*tools.command, publish, running.data, kind, "task-1", task]
        state, session, rest = (printed := await asyncio.to_thread(output_of, argv, environ)).split(" ", 2)
        assert (state, rest) == ("done", "end_turn Done.\n")
        again = await asyncio.to_thread(output_of, argv, environ)
        assert again == printed, "the same id starts nothing twice"
        shown: list[Any] = [event async for event in client.beta.sessions.events.list(session)]

    out = tmp_path / "out"
    argv = [*tools.command, tools.folder / f"follow_events.{language}", running.data, language]
    process = begin(argv, environ, out)
    try:

        async def followed() -> list[list[str]]:
            lines = [line.split(" ", 2) for line in out.read_text().splitlines()]
            found = [line for line in lines if line[1:2] == [session] and len(line) == 3]
            return found if len(found) >= len(shown) else []

        found = await eventually(followed, what=f"events: {out.read_text()}", within=120)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # `go run` and tsx have a child
        process.wait(10)
    assert [(type_, json.loads(body)["id"]) for type_, _, body in found] == [(event.type, event.id) for event in shown]


def test_the_follower_of_the_document_is_the_example() -> None:
    text = (ROOT / "docs" / "events-out.md").read_text()
    (shown,) = [block.text for block in blocks(text) if block.language == "python"]
    assert (EXAMPLES / "follow_events.py").read_text().endswith(shown.strip() + "\n")
