"""The kinds that are clouds, with the SDK's own clients at an endpoint of ours."""

import asyncio
import base64
import binascii
import importlib.util
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from holdfast.process.settings import BadSettings
from tests.support.model_client import KEY, Failed, ask, client, failure
from tests.support.raw_model import STREAM, answer, chunk, head, raw_model, stream

HAS_BOTOCORE = importlib.util.find_spec("botocore") is not None


async def test_foundry_sends_its_key_and_the_body_of_the_messages_api() -> None:
    async with raw_model(stream()) as server:
        assert (await ask("foundry", server.url, betas=("b-1",))).blocks == [{"type": "text", "text": "Hello"}]
    (sent,) = server.requests
    assert sent.line == "POST /v1/messages HTTP/1.1"
    assert sent.headers["x-api-key"] == KEY
    assert sent.headers["anthropic-beta"] == "b-1"
    assert msgspec.json.decode(sent.body)["model"] == "m"


async def test_foundry_derives_its_address_from_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_FOUNDRY_RESOURCE", "no-such-resource.invalid/")
    failed = await failure("foundry", "")
    assert failed.text.startswith("The model at https://no-such-resource.invalid/")


async def test_vertex_names_the_model_in_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_ML_REGION", "europe-west1")
    monkeypatch.setenv("ANTHROPIC_VERTEX_PROJECT_ID", "p")
    async with raw_model(stream()) as server:
        assert (await ask("vertex", server.url)).blocks == [{"type": "text", "text": "Hello"}]
    (sent,) = server.requests
    path = "/projects/p/locations/europe-west1/publishers/anthropic/models/m:streamRawPredict"
    assert sent.line == f"POST {path} HTTP/1.1"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    body = msgspec.json.decode(sent.body)
    assert (body["stream"], "model" in body, "anthropic_version" in body) == (True, False, True)


async def test_a_cloud_fails_as_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_ML_REGION", "europe-west1")
    monkeypatch.setenv("ANTHROPIC_VERTEX_PROJECT_ID", "p")
    async with raw_model(answer(429, '{"error": {"message": "Quota."}}', retry_after="3")) as server:
        text = f"The model at {server.url} answered 429: Quota."
        limited = Failed(text, "model_rate_limited_error", retryable=True, outage=True, retry_after=3.0)
        assert await failure("vertex", server.url) == limited


@pytest.mark.parametrize(
    ("kind", "environ", "text"),
    [
        ("vertex", {}, "HOLDFAST_MODEL: vertex: No region was given"),
        ("foundry", {}, "HOLDFAST_MODEL: foundry: Must provide one of the `base_url` or `resource`"),
    ],
)
async def test_a_setting_of_the_cloud_that_is_missing_is_told_at_start(
    kind: str, environ: dict[str, str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as refused:
        async with client(kind, ""):
            pass
    assert str(refused.value).startswith(text)
    assert KEY not in str(refused.value)


@pytest.mark.skipif(HAS_BOTOCORE, reason="the extra is installed")
async def test_bedrock_without_its_extra_is_told_at_start() -> None:
    with pytest.raises(BadSettings) as refused:
        async with client("bedrock", ""):
            pass
    assert str(refused.value) == "HOLDFAST_MODEL: bedrock needs an extra of the SDK; pip install 'anthropic[bedrock]'"


async def test_vertex_without_a_key_and_its_extra_ends_the_harness_at_start(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "holdfast.harness", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={"HOLDFAST_MODEL": "vertex", "HOME": str(tmp_path), "CLOUD_ML_REGION": "global"},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 50)
    assert process.returncode == 2, out
    assert b"HOLDFAST_MODEL: vertex needs an extra of the SDK; pip install 'anthropic[vertex]'" in out


def aws_message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message of AWS's event stream (application/vnd.amazon.eventstream): prelude, headers, payload, checksums."""
    encoded = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(text)) + text.encode()
        for name, text in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    body = prelude + struct.pack(">I", binascii.crc32(prelude)) + encoded + payload
    return body + struct.pack(">I", binascii.crc32(body))


def aws_event(data: str) -> bytes:
    payload = msgspec.json.encode({"bytes": base64.b64encode(data.encode()).decode()})
    return aws_message({":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"}, payload)


@pytest.mark.skipif(not HAS_BOTOCORE, reason="the extra anthropic[bedrock] is not installed")
class TestBedrock:
    @pytest.fixture(autouse=True)
    def region(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "eu-central-1")

    async def test_its_binary_stream_is_read(self) -> None:
        body = b"".join(chunk(aws_event(event)) for event in STREAM)
        async with raw_model(head() + body + chunk(b"")) as server:
            response = await ask("bedrock", server.url, betas=("b-1",))
        assert response.blocks == [{"type": "text", "text": "Hello"}]
        (sent,) = server.requests
        assert sent.line == "POST /model/m/invoke-with-response-stream HTTP/1.1"
        assert sent.headers["authorization"] == f"Bearer {KEY}"
        assert msgspec.json.decode(sent.body)["anthropic_beta"] == ["b-1"]

    async def test_an_exception_in_the_stream(self) -> None:
        kind = {":message-type": "exception", ":exception-type": "throttlingException"}
        broken = aws_message({**kind, ":content-type": "application/json"}, b'{"message": "Slow down."}')
        async with raw_model(head() + chunk(aws_event(STREAM[0])) + chunk(broken) + chunk(b"")) as server:
            text = f"The model at {server.url} broke off: Slow down."
            limited = Failed(text, "model_rate_limited_error", retryable=True, outage=True)
            assert await failure("bedrock", server.url) == limited

    async def test_bytes_that_are_no_event_stream(self) -> None:
        async with raw_model(head() + chunk(b"x" * 200) + chunk(b"")) as server:
            failed = await failure("bedrock", server.url)
        assert failed.text.startswith(f"The answer of the model at {server.url} could not be used: Checksum mismatch")

    async def test_without_credentials(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        async with raw_model(b"") as server:
            failed = await failure("bedrock", server.url, key="")
        assert failed.text.startswith(f"No request can be made to the model at {server.url}: ")
        assert (failed.retryable, failed.outage) == (True, False)
        assert server.requests == []
