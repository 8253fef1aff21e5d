"""The examples of the official SDK, unchanged: each runs against a stack, or what it needs is refused by name."""

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic

from holdfast.bus.ids import new_id
from tests.support.model import say
from tests.support.sdk_examples import unpack_examples
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(180)  # the archive may have to be fetched first

HELLO = "agents.py"
DELTAS = "managed-agents-streaming-deltas-manual.py"
RUN = {HELLO: "Hello Claude!", DELTAS: "Write a short haiku about the ocean"}
"""The examples that need nothing which is missing, and what each says to its agent."""

NEEDS = {
    "agents_comprehensive.py": "skills are not available in this version",
    "agents_with_files.py": "session resources are not available in this version",
    "managed-agents-observe-tool-calls.py": "user.tool_result events are not available in this version",
    "managed-agents-self-hosted-sandbox-worker.py": "self-hosted environments are not available in this version",
    "managed-agents-worker-dispatch.py": "self-hosted environments are not available in this version",
}
"""The other examples of Managed Agents, and how the first part that each lacks is refused."""

TEXT = "Waves fold into foam. The tide writes, then reads its log, and begins again."

EXAMPLE_TIMEOUT_S = 60

SPEEDS = {"at once": {}, "slowly": {"ttft": 1.0, "delay": 0.02}}
"""Both examples send first and open the stream then: by that time the turn has ended, or is at work."""


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_examples(tmp_path_factory.mktemp("sdk"))


@pytest.fixture
async def clean(client: AsyncAnthropic) -> AsyncIterator[None]:
    """Deletes the environments that an example has made: it gives each the same name at every start."""
    yield
    async for environment in client.beta.environments.list():
        if environment.name.endswith(("-example", "-example-environment")):
            await client.beta.environments.delete(environment.id)


async def run(example: Path, stack: Stack, **environ: str) -> tuple[int, str, str]:
    """Exit code, output and errors of an example that knows the stack by the two variables of the SDK alone."""
    variables = {"ANTHROPIC_BASE_URL": stack.run.base_url, "ANTHROPIC_API_KEY": stack.run.api_key}
    process = await asyncio.create_subprocess_exec(
        sys.executable, example, cwd=example.parent, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(example.parent), **variables, **environ},
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), EXAMPLE_TIMEOUT_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def documents(text: str) -> Iterator[Any]:
    """The JSON documents that follow one another in a text."""
    decoder, at = json.JSONDecoder(), 0
    while found := re.compile(r"\S").search(text, at):
        document, at = decoder.raw_decode(text, found.start())
        yield document


def test_each_example_of_managed_agents_is_in_a_table(examples: Path) -> None:
    """The others talk to a model directly, and this version serves no model (`test_unavailable.py`)."""
    ours = re.compile(r"\.beta\.(agents|environments|sessions|vaults)\b")
    found = {path.name for path in examples.rglob("*.py") if ours.search(path.read_text())}
    assert found == {*RUN, *NEEDS}


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("speed", SPEEDS)
async def test_the_simple_example(examples: Path, shared: Stack, speed: str) -> None:
    await shared.model.replay("example", say(TEXT, **SPEEDS[speed]), match=RUN[HELLO])
    code, out, err = await run(examples / HELLO, shared)
    assert (code, err) == (0, ""), out
    made, _, streamed = out.partition("Streaming events:\n")
    assert re.fullmatch(r"Created environment: env_\w+\nCreated agent: agent_\w+\nCreated session: sesn_\w+\n", made)
    events = list(documents(streamed))
    assert [event["type"] for event in events if not event["type"].startswith(("session.thread_", "span."))] == [
        "session.status_running", "user.message", "agent.message", "session.usage", "session.status_idle"
    ]  # fmt: skip
    assert len({event["id"] for event in events}) == len(events)
    texts = {event["type"]: event["content"][0]["text"] for event in events if "content" in event}
    assert texts == {"user.message": RUN[HELLO], "agent.message": TEXT}
    assert events[-1]["stop_reason"]["type"] == "end_turn"


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("speed", SPEEDS)
async def test_the_example_of_deltas(examples: Path, shared: Stack, speed: str) -> None:
    await shared.model.replay("example", say(TEXT, **SPEEDS[speed]), match=RUN[DELTAS])
    code, out, err = await run(examples / DELTAS, shared)
    assert (code, err) == (0, ""), out
    shown, _, final = out.partition("Streaming:\n")[2].partition("\n[final] ")
    assert final == TEXT + "\n"
    previews = shown.split("\r")[1:]
    assert all(TEXT.startswith(preview) for preview in previews)
    assert previews == sorted(previews, key=len)
    if speed == "slowly":
        assert len(previews) > 3
        assert previews[-1] == TEXT


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("name", ["agents_comprehensive.py", "agents_with_files.py"])
async def test_what_an_example_lacks_is_refused_by_name(examples: Path, shared: Stack, name: str) -> None:
    code, out, err = await run(examples / name, shared, GITHUB_TOKEN="github-token")
    assert code == 1, out
    assert NEEDS[name] in err
    assert "Created environment: env_" in out


async def test_a_worker_of_ones_own_is_refused_by_name(examples: Path, shared: Stack, client: AsyncAnthropic) -> None:
    environment = await client.beta.environments.create(name=new_id("test"))
    name = "managed-agents-self-hosted-sandbox-worker.py"
    variables = {"ANTHROPIC_ENVIRONMENT_ID": environment.id, "ANTHROPIC_ENVIRONMENT_KEY": "a-key"}
    code, out, err = await run(examples / name, shared, **variables)
    assert code == 1, out
    assert NEEDS[name] in err
    assert "deleted session sesn_" in out
