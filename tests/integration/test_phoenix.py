"""Arize Phoenix shows the traces of `holdfast up` as agents, model requests and tool calls of one session.

Skipped unless HOLDFAST_TEST_PHOENIX names the program `phoenix` of an environment of its own: it needs 190 packages.

    python3 -m venv PLACE && PLACE/bin/pip install arize-phoenix
    HOLDFAST_TEST_PHOENIX=PLACE/bin/phoenix .venv/bin/pytest tests/integration/test_phoenix.py
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.cli.embedded.ports import free_port
from tests.support.conversation import MODEL, Conversation
from tests.support.eventually import eventually
from tests.support.model import bash, say
from tests.support.stack import stack

PROGRAM = os.environ.get("HOLDFAST_TEST_PHOENIX", "")
STARTS_WITHIN_S = 120.0

pytestmark = [
    pytest.mark.skipif(not PROGRAM, reason="HOLDFAST_TEST_PHOENIX names no program `phoenix`"),
    pytest.mark.timeout(240),
]


@contextlib.contextmanager
def phoenix(folder: Path) -> Generator[str]:
    """Its address, at which it takes OTLP too."""
    port = free_port()
    settings = {"PORT": port, "GRPC_PORT": free_port(), "HOST": "127.0.0.1", "WORKING_DIR": folder}
    environ = {f"PHOENIX_{name}": str(value) for name, value in settings.items()}
    environ |= {"PHOENIX_TELEMETRY_ENABLED": "false", "PATH": os.environ["PATH"], "HOME": str(folder)}
    url = f"http://127.0.0.1:{port}"
    with (folder / "phoenix.log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "serve"], env=environ, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not _answers(url):
            assert process.poll() is None, (folder / "phoenix.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "Phoenix does not start"
            time.sleep(0.2)
        yield url
    finally:
        process.kill()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/projects", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


async def test_phoenix_shows_agents_model_requests_and_tool_calls_of_a_session(tmp_path: Path) -> None:
    with phoenix(tmp_path) as url:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_METRICS_EXPORTER": "none"}
        (tmp_path / "stack").mkdir()
        with stack(tmp_path / "stack", environ=environ, harnesses=1) as made:
            async with made.client() as client:
                conversation = await Conversation.begin(client)
                await conversation.say(await made.model.play(bash("echo canary-run"), say("canary-said")))
                await conversation.until_idle()
            made.stop()  # sends the last spans

        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:

            async def shown() -> list[dict[str, Any]]:
                answer = await http.get("/v1/projects/default/spans", params={"limit": 1000})
                found = [span for span in answer.json()["data"] if span["span_kind"] != "UNKNOWN"]
                return found if len(found) >= 4 else []

            spans = await eventually(shown, what="four spans in Phoenix", within=30)
            sessions = (await http.get("/v1/projects/default/sessions")).json()["data"]
            everything = (await http.get("/v1/projects/default/spans", params={"limit": 1000})).text

    assert sorted((span["span_kind"], span["name"]) for span in spans) == [
        ("AGENT", "invoke_agent"), ("LLM", f"chat {MODEL}"), ("LLM", f"chat {MODEL}"), ("TOOL", "execute_tool bash"),
    ]  # fmt: skip
    (agent,) = [span for span in spans if span["span_kind"] == "AGENT"]
    assert {span["parent_id"] for span in spans if span is not agent} == {agent["context"]["span_id"]}
    assert len({span["context"]["trace_id"] for span in spans}) == 1
    assert [one["session_id"] for one in sessions] == [conversation.id]
    for span in spans:
        attributes = span["attributes"]
        assert attributes["session.id"] == conversation.id
        if span["span_kind"] == "LLM":
            assert attributes["llm.model_name"] == MODEL
            assert attributes["llm.token_count.prompt"] > 0
            assert attributes["llm.token_count.completion"] > 0
        if span["span_kind"] == "TOOL":
            assert attributes["tool.name"] == "bash"
    assert "canary" not in everything
