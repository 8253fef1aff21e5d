"""The Messages API through the clients of the `anthropic` SDK, one per process.

The client makes requests, authenticates and raises its errors. Three things are done around it:

- Request bodies are encoded here and sent as bytes, because the client would copy a long history recursively.
- Responses are read as bytes (the client's documented raw response), as `streamed_model` does for every kind.
- HTTP goes through aiohttp, by a client of ours that the SDK is given (`anthropic_http`).

The client makes no retries, no spans, and follows no redirect: it would take the key to another address.
"""

from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final, cast

import anthropic
import httpx2
import msgspec
from aiohttp import ClientError
from anthropic import AsyncAnthropic, AsyncStream

from holdfast.harness.models.anthropic_http import DecodedStream, SdkHttpClient
from holdfast.harness.models.failure_causes import request_id
from holdfast.harness.models.failures import ErrorStatus, Progress
from holdfast.harness.models.interface import Endpoint, ModelFailure
from holdfast.harness.models.streamed_model import CONNECT_TIMEOUT_S, ResponseBody, StreamedModel

_WITHOUT_KEY: Final[Any] = {"X-Api-Key": anthropic.Omit(), "Authorization": anthropic.Omit()}
"""Headers for an endpoint without a key: the client sends no empty key and reads none from the environment."""


def client_options(http: SdkHttpClient) -> dict[str, Any]:
    """Arguments that every client of the SDK gets. Silence is bounded by `StreamedModel`, not by the client."""
    return {
        "max_retries": 0,
        "timeout": anthropic.Timeout(None, connect=CONNECT_TIMEOUT_S),
        "http_client": http,
        "open_telemetry": False,
    }


class SdkModel(StreamedModel):
    """A model behind a client of the SDK."""

    ERRORS: ClassVar = (anthropic.AnthropicError, ClientError, OSError)

    def __init__(self, endpoint: Endpoint, client: Any, http: SdkHttpClient) -> None:
        """`client` is an `AsyncAnthropic`, or one of the SDK's clients for a cloud, and sends by `http`."""
        super().__init__(endpoint)
        http.open(str(client.base_url))
        self._client = client
        self._headers = {"anthropic-beta": ",".join(endpoint.betas)} if endpoint.betas else {}

    async def _close(self) -> None:
        await self._client.close()

    async def _send(self, body: dict[str, Any]) -> ResponseBody:
        headers = {"content-type": "application/json", **self._headers}
        return SdkBody(await self._post(headers, content=msgspec.json.encode(body)))

    async def _post(self, headers: dict[str, str], **body: Any) -> httpx2.Response:
        """Send the request. `body`: `content`, bytes that are sent as they are, or `body`, for the client to encode."""
        response = await self._client.post(
            "/v1/messages",
            cast_to=httpx2.Response,
            options={"headers": headers},
            stream=True,
            stream_cls=AsyncStream[Any],
            **body,
        )
        return cast("httpx2.Response", response)

    def _failure(self, exc: Exception, progress: Progress) -> ModelFailure | None:
        match exc:
            case anthropic.APIStatusError():
                return self._failures.status(ErrorStatus(exc.status_code, exc.response.headers, exc.response.content))
            case TimeoutError():
                return self._failures.silent(progress)
            case anthropic.APIError() if not progress.answered:
                return self._failures.unreachable(exc)
            case anthropic.AnthropicError():
                return self._failures.no_credentials(exc)
            case ClientError() | OSError():
                return self._failures.broke_off(exc, progress)
            case _:
                return None


class AnthropicModel(SdkModel):
    """Speaks to any endpoint that serves the Messages API."""

    def __init__(self, endpoint: Endpoint) -> None:
        headers: dict[str, Any] = {}
        if not endpoint.key:
            headers = _WITHOUT_KEY
        elif endpoint.auth == "x-api-key":
            headers = {"X-Api-Key": endpoint.key, "Authorization": anthropic.Omit()}
        http = SdkHttpClient()
        client = AsyncAnthropic(
            base_url=endpoint.base_url, api_key=endpoint.key, default_headers=headers, **client_options(http)
        )
        super().__init__(endpoint, client, http)


class SdkBody:
    """The body of a response of the SDK."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self.request_id = request_id(response.headers)
        self._chunks = self._decoded()

    def _decoded(self) -> AsyncIterator[bytes]:
        stream = self._response.stream
        return aiter(stream) if isinstance(stream, DecodedStream) else self._response.aiter_bytes()

    async def read(self) -> bytes:
        return await anext(self._chunks, b"")

    async def close(self) -> None:
        await self._response.aclose()
