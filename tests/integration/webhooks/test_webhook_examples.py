"""The receivers of `examples/`: each takes a signed event and refuses one that is not. Run where its toolchain is."""

import os
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from holdfast.cli.embedded.ports import free_port
from tests.support.markdown import blocks
from tests.support.toolchains import EXAMPLES, toolchain
from tests.support.webhooks import Webhooks

ROOT = Path(__file__).parents[3]


def until_listening(port: int, process: subprocess.Popen[bytes], within_s: float = 40.0) -> None:
    deadline = time.monotonic() + within_s
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
        except httpx.ConnectError:
            assert process.poll() is None, "the receiver has ended"
            assert time.monotonic() < deadline, "the receiver does not listen"
            time.sleep(0.05)
        except httpx.HTTPError:
            return
        else:
            return


@pytest.mark.parametrize("language", ["py", "ts", "go"])
def test_a_receiver_checks_the_signature(webhooks: Webhooks, tmp_path: Path, language: str) -> None:
    tools, port = toolchain(language, nats=False), free_port()
    url = f"http://127.0.0.1:{port}/hooks"
    arguments = [*tools.command, str(tools.folder / f"webhook_receiver.{language}")]
    made, other = webhooks.create(url), webhooks.create(url)
    environ = {**os.environ, **tools.environ, "WEBHOOK_SECRET": made["secret"], "PORT": str(port)}
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(arguments, env=environ, stdout=out, stderr=subprocess.DEVNULL, process_group=0)
    try:
        until_listening(port, process)
        webhooks.test(made["id"])  # the SDK is slow at its first event
        tested = webhooks.test(made["id"])
        forged = webhooks.test(other["id"])
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # `go run` and tsx have a child
        process.wait(10)
    assert tested["error"] is None
    assert forged["error"] == "the endpoint answered 401"
    printed = (tmp_path / "out").read_text().splitlines()
    assert len(printed) == 2
    assert printed[1] == f"{tested['event_id']} webhook.test {made['id']}"


def test_the_receiver_of_the_document_is_the_example() -> None:
    text = (ROOT / "docs" / "webhooks.md").read_text()
    (shown,) = [block.text for block in blocks(text) if block.language == "python"]
    assert (EXAMPLES / "webhook_receiver.py").read_text().endswith(shown.strip() + "\n")
