"""The scripted model as a real process, and short words for what it shall play."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec

from holdfast.bus.ids import new_id
from holdfast.scripted_model.journal import Record

Json = dict[str, Any]


def say(text: str, **more: Any) -> Json:
    """A step that answers with text."""
    return {"text": text, **more}


def call(name: str, text: str | None = None, **arguments: Any) -> Json:
    """A step that calls one tool."""
    return {"text": text, "tools": [{"name": name, "input": arguments}]}


def bash(command: str, **more: Any) -> Json:
    """A step that runs a command."""
    return {"tools": [{"name": "bash", "input": {"command": command}}], **more}


class ScriptedModel:
    """A running scripted model. Waiting calls raise TimeoutError."""

    def __init__(self, base_url: str, pid: int) -> None:
        self.base_url = base_url
        self.pid = pid

    async def _ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        async with httpx.AsyncClient(base_url=self.base_url, timeout=150, verify=False) as client:
            answer = await client.request(method, path, json=body, params=query)
        if answer.status_code == httpx.codes.REQUEST_TIMEOUT:
            raise TimeoutError(f"{path} {body or query}: it did not happen in time")
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.json()

    async def play(self, *steps: Json, **scenario: Any) -> str:
        """Load a scenario of these steps under a new name, and return the name: say `[play:name]` to start it."""
        name = new_id("play").replace("_", "-")
        await self._ask("POST", "/_scenarios", {name: {"steps": list(steps), **scenario}})
        return name

    async def replay(self, mark: str, *steps: Json, **scenario: Any) -> None:
        """Add or replace the scenario of that name, for the requests that come from now on."""
        await self._ask("POST", "/_scenarios", {mark: {"steps": list(steps), **scenario}})

    async def requests(self, mark: str = "", *, count: int = 0, ended: int = 0, within: float = 20) -> list[Record]:
        """The requests of conversations that carry the mark, as soon as there are `count` and `ended` have ended."""
        found = await self._ask("GET", "/_requests", mark=mark, count=count, ended=ended, timeout=within)
        return msgspec.convert(found, list[Record])

    async def refused(self) -> list[Record]:
        """The requests that were refused as invalid (400)."""
        return msgspec.convert(await self._ask("GET", "/_requests", status=400), list[Record])

    async def reached(self, gate: str, count: int = 1, *, within: float = 20) -> None:
        """Wait until that many answers in all have come to the gate."""
        await self._ask("POST", "/_gate", {"name": gate, "do": "wait", "count": count, "timeout": within})

    async def release(self, gate: str, passes: int | None = None) -> None:
        """Let answers through the gate; without a number all, from now on."""
        await self._ask("POST", "/_gate", {"name": gate, "do": "release", "passes": passes})

    async def reset(self) -> None:
        await self._ask("POST", "/_reset", {})


def said(mark: str, text: str = "") -> Json:
    """The `user.message` that starts the scenario of that name."""
    return {"type": "user.message", "content": [{"type": "text", "text": f"{text} [play:{mark}]".strip()}]}


def texts_of(record: Record, role: str = "user") -> list[str]:
    """All that was said in a recorded request by one side, the texts of tool results included."""
    found: list[str] = []
    for message in record.body["messages"]:
        if message["role"] == role:
            found.extend(_texts(message["content"]))
    return found


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    out: list[str] = []
    for block in cast("list[Json]", content or []):
        if block["type"] == "text":
            out.append(block["text"])
        elif block["type"] == "tool_result":
            out.extend(_texts(block.get("content")))
    return out


@contextlib.contextmanager
def scripted_model(*arguments: str | Path, log: Path) -> Generator[ScriptedModel]:
    """A scripted model on a free port; what it says goes to `log`."""
    argv = [sys.executable, "-m", "holdfast.scripted_model", *map(str, arguments)]
    with log.open("ab") as errors, subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line, f"the scripted model did not start: {log.read_text()[-2000:]}"
            yield ScriptedModel(json.loads(line)["base_url"], process.pid)
        finally:
            process.kill()
            process.wait(10)
