import json
import subprocess
import sys

import pytest

from holdfast.process.logs import is_secret_name, redact, scrub

PROGRAM = """
import logging, structlog
from holdfast.process import logs, telemetry
logs.setup("vault", "info"); telemetry.setup("vault")
log = structlog.get_logger()
log.debug("not written")
with telemetry.tracer().start_as_current_span("turn"):
    log.info("hello", api_key="sk-ant-api03-abcdefgh", session="sesn_a0_1", nested={"token": "x", "n": [b"abc"]})
logging.getLogger("nats").warning("connected to nats://user:hunter2@127.0.0.1:4222")
try:
    raise RuntimeError("refused ghp_0123456789abcdef")
except RuntimeError:
    log.exception("failed")
"""


def test_each_line_is_json_with_service_and_trace_and_without_secrets() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[0]["event"] == "hello"
    assert len(lines) == 3
    hello, nats, failed = lines
    assert hello["service"] == "vault"
    assert len(hello["trace_id"]) == 32
    assert len(hello["span_id"]) == 16
    assert hello["api_key"] == "[redacted]"
    assert hello["nested"] == {"token": "[redacted]", "n": ["<3 bytes>"]}
    assert nats["source"] == "nats"
    assert "hunter2" not in nats["event"]
    assert "RuntimeError" in failed["exception"]
    assert "ghp_" not in done.stderr


@pytest.mark.parametrize(
    "name",
    ["api_key", "x-api-key", "Authorization", "token", "access_token", "secret_id", "password", "key", "cookies"],
)
def test_names_that_hold_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["session", "tokens_used", "keyboard", "secretary", "input_tokens_total", "monkey"])
def test_names_that_do_not(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "token",
    [
        "sk-ant-REDACTED",
        "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
        "github_pat_11ABCDEFG0abcdef",
        "glpat-abcdefgh12345678",
        "xoxb-1234567890-abcdef",
        "hvs.CAESIabcdefgh",
        "s.abcdefghijklmnopqrstuvwx",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    ],
)
def test_known_tokens_are_replaced_wherever_they_stand(token: str) -> None:
    assert token not in scrub(f"error: {token}, again {token}.")
    assert token not in str(redact(None, "info", {"event": f"Bearer {token}", "url": [f"https://x/{token}"]}))


def test_ordinary_text_is_left_alone() -> None:
    text = "session sesn_a0_01k4x read s.acme.sesn at 3-0, basic plan, task-force-five"
    assert scrub(text) == text
