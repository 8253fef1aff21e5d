"""Helpers that are not needed any more end. The agent runs here outside of a sandbox: it is sent file tools only,
because a restart of its shell would kill the processes of the machine."""

import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

import holdfast.sandbox.agent
from tests.support.eventually import eventually

FOLDER = Path(holdfast.sandbox.agent.__file__).parents[1]
IDLE_S = 0.5


class Agent:
    def __init__(self, workspace: Path) -> None:
        program = (
            f"import sys; sys.path.insert(0, {str(FOLDER)!r}); from agent.files import Root;"
            f" from agent.loop import Loop; Loop(Root({str(workspace)!r}), {IDLE_S}).run()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def send(self, *paths: str) -> None:
        """Read files, all at once."""
        assert self.process.stdin
        for number, path in enumerate(paths):
            frame = {"id": number, "name": "read", "input": {"file_path": path}, "limit": 20}
            data = msgspec.json.encode(frame)
            self.process.stdin.write(struct.pack(">I", len(data)) + data)
        self.process.stdin.flush()

    def receive(self, count: int) -> list[Any]:
        assert self.process.stdout
        found: list[Any] = []
        for _ in range(count):
            (size,) = struct.unpack(">I", self.process.stdout.read(4))
            found.append(msgspec.json.decode(self.process.stdout.read(size))["content"][0]["text"])
        return found

    def helpers(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children()}

    async def alone(self) -> bool:
        """Whether it has no helper."""
        return not self.helpers()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    (tmp_path / "file").write_text("content")
    started = Agent(tmp_path)
    yield started
    started.process.communicate()
    assert started.process.returncode == 0


async def test_a_helper_without_a_call_ends_and_the_next_call_gets_a_new_one(agent: Agent) -> None:
    agent.send("file")
    assert agent.receive(1) == ["content"]
    (first,) = agent.helpers()
    await eventually(agent.alone, what="the end of the helper")
    agent.send("file")
    assert agent.receive(1) == ["content"]
    (second,) = agent.helpers()
    assert second != first


async def test_calls_at_once_have_a_helper_each_and_all_end(agent: Agent) -> None:
    agent.send(*["file"] * 12)
    assert agent.receive(12) == ["content"] * 12
    assert agent.helpers()
    await eventually(agent.alone, what="the end of the helpers")


def test_helpers_end_with_the_agent(agent: Agent) -> None:
    agent.send("file", "file")
    agent.receive(2)
    helpers = [psutil.Process(pid) for pid in agent.helpers()]
    assert helpers
    agent.process.kill()
    agent.process.wait()
    _, alive = psutil.wait_procs(helpers, timeout=10)
    agent.process.returncode = 0
    assert not alive
