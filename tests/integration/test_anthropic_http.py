"""The HTTP client that the SDK is given sends what the SDK's own would send."""

from typing import Any

import httpx2
import msgspec
from anthropic import AsyncAnthropic

from holdfast.harness.models.anthropic_http import SdkHttpClient
from tests.support.model_client import KEY, client, pieces
from tests.support.raw_model import STREAM, Received, chunk, frame, head, raw_model, stream

OF_THE_CONNECTION = {"accept-encoding", "connection", "content-length", "host"}
"""Made by whoever sends."""

TIMEOUTS = {"x-stainless-timeout", "x-stainless-read-timeout"}
"""What the SDK tells of its own time limit: ours is a silence."""


def told(received: Received) -> dict[str, str]:
    return {name: text for name, text in received.headers.items() if name not in OF_THE_CONNECTION | TIMEOUTS}


async def ask_by_the_sdk(url: str, **given: Any) -> list[str]:
    async with AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0, **given) as sdk:
        message: Any = {"role": "user", "content": "hi"}
        events = await sdk.messages.create(model="m", max_tokens=10, messages=[message], stream=True)
        return [event.type async for event in events]


async def test_a_harness_sends_the_headers_of_the_sdk() -> None:
    async with raw_model(stream()) as server:
        await ask_by_the_sdk(server.url + "/gateway")
        async with client("anthropic", server.url + "/gateway") as model:
            await pieces(model)
    theirs, ours = server.requests
    assert ours.line == theirs.line
    assert told(ours) == told(theirs)


async def test_the_sdk_reads_its_typed_events_through_it() -> None:
    kinds = [msgspec.json.decode(data)["type"] for data in STREAM]
    named = b"".join(f"event: {kind}\n".encode() + frame(data) for kind, data in zip(kinds, STREAM, strict=True))
    async with raw_model(head() + chunk(named) + chunk(b"")) as server:
        http = SdkHttpClient()
        http.open(server.url)
        assert await ask_by_the_sdk(server.url, http_client=http) == kinds


async def test_a_request_that_authenticates_by_itself_goes_the_long_way() -> None:
    async with raw_model(stream()) as server, SdkHttpClient() as http:
        http.open(server.url)
        request = http.build_request("POST", server.url + "/v1/messages", content=b"{}")
        response = await http.send(request, stream=True, auth=httpx2.BasicAuth("user", "secret"))
        content = await response.aread()
    assert b"message_stop" in content
    assert server.requests[0].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
