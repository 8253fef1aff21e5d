import json
import os
import subprocess
import sys

import pytest

from holdfast.process.logs import REDACTED, is_secret_name, redact, scrub
from tests.support.otlp_sink import otlp_sink

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


CANARY = "canary-of-a-session"

FAILURES = f"""
import asyncio, gc, logging, structlog, threading
from holdfast.process import logs
logs.setup("session", "info")
log = structlog.get_logger()

def fails(*_):
    try:
        raise ValueError("{CANARY} 1")
    except ValueError as cause:
        raise ExceptionGroup("{CANARY} 2", [KeyError("{CANARY} 3")]) from cause

class Unraisable:
    def __del__(self):
        fails()

async def main():
    forgotten = asyncio.create_task(asyncio.to_thread(fails), name="forgotten")
    asyncio.get_running_loop().call_soon(fails, "{CANARY} 4")
    await asyncio.sleep(0.1)
    del forgotten
    gc.collect()

try:
    fails()
except Exception as exc:
    log.exception("caught")
    log.error("named", exc_info=exc)
    logging.getLogger("library").exception("of a library")
log.exception("no exception")
thread = threading.Thread(target=fails, name="worker")
thread.start(); thread.join()
Unraisable()
asyncio.run(main())
"""
"""Every way in which an exception that nobody expected reaches the log."""


FAILURE_TOLD = {"ExceptionGroup", "KeyError", "ValueError", "<string>:9 fails", "<string>:11 fails"}


def test_no_line_repeats_the_text_of_an_exception() -> None:
    done = subprocess.run([sys.executable, "-c", FAILURES], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == [
        "caught", "named", "of a library", "no exception", "a thread ended with an exception",
        "an exception could not be raised", "Exception in callback fails", "Task exception was never retrieved",
    ]  # fmt: skip
    assert CANARY not in done.stderr
    for line in lines:
        if line["event"] != "no exception":
            told = line["exception"].splitlines()
            assert set(told) >= FAILURE_TOLD, line
            assert "exc_info" not in line


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
        "whsec_plJ3+XbCyM/a2v1Q5xT0kg==",
    ],
)
def test_known_tokens_are_replaced_wherever_they_stand(token: str) -> None:
    assert scrub(token) == REDACTED
    assert token not in scrub(f"error: {token}, again {token}.")
    assert token not in str(redact(None, "info", {"event": f"Bearer {token}", "url": [f"https://x/{token}"]}))


def test_ordinary_text_is_left_alone() -> None:
    text = "session sesn_a0_01k4x read s.acme.sesn at 3-0, basic plan, task-force-five"
    assert scrub(text) == text


EXPORTING = """
import logging, structlog
from holdfast.process import logs, telemetry
logs.setup("session", "info"); telemetry.setup("session")
log = structlog.get_logger()
with telemetry.tracer().start_as_current_span("turn"):
    log.info("hello", session="sesn_a0_1", calls=["a", "b"], api_key="sk-ant-api03-abcdefgh", count=3)
logging.getLogger("opentelemetry.exporter").warning("of the exporter itself")
try:
    raise RuntimeError("canary-of-a-session")
except RuntimeError:
    log.exception("failed")
telemetry.shutdown()
"""


@pytest.mark.parametrize("wanted", ["otlp", ""])
def test_lines_are_sent_by_otlp_if_that_is_asked_for(wanted: str) -> None:
    with otlp_sink() as sink:
        environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint, "OTEL_METRICS_EXPORTER": "none"}
        environ |= {"OTEL_LOGS_EXPORTER": wanted} if wanted else {}
        done = subprocess.run(
            [sys.executable, "-c", EXPORTING], env=environ, capture_output=True, text=True, check=True
        )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["hello", "of the exporter itself", "failed"]
    if not wanted:
        assert sink.logs == []
        return
    hello, failed = sink.logs
    assert (hello.service, hello.text, hello.severity) == ("session", "hello", 9)
    assert (hello.trace, hello.span) == (lines[0]["trace_id"], lines[0]["span_id"])
    assert hello.attributes == {
        "session": "sesn_a0_1", "calls": '["a", "b"]', "api_key": "[redacted]", "count": 3,
    }  # fmt: skip
    assert (failed.text, failed.severity, failed.attributes["exception.type"]) == ("failed", 17, "RuntimeError")
    assert failed.attributes["exception.stacktrace"] == lines[2]["exception"]
    assert b"canary" not in sink.raw
    assert b"sk-ant" not in sink.raw
