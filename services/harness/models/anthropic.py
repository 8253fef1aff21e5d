"""The Messages API through the clients of the `anthropic` SDK, one per process.

The client connects, authenticates and raises its errors. Three things are done around it:

- Request bodies are encoded here and sent as bytes, because the client would copy a long history recursively.
- Responses are read as bytes (the client's documented raw response), as `streamed_model` does for every kind.
- HTTP goes through aiohttp, which the SDK offers as an alternative: with fifty sessions at once a request costs half
  the processor time, because the default's pool walks over all its connections for each request.

The client makes no retries, no spans, and follows no redirect: it would take the key to another address.
"""

from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final, cast

import anthropic
import httpx2
import msgspec
from aiohttp import ClientError
from anthropic import AsyncAnthropic, AsyncStream, DefaultAioHttpClient

from holdfast.harness.models.failure_causes import request_id
from holdfast.harness.models.failures import ErrorStatus, Progress
from holdfast.harness.models.interface import Endpoint, ModelFailure
from holdfast.harness.models.streamed_model import CONNECT_TIMEOUT_S, ResponseBody, StreamedModel, beginning

_WITHOUT_KEY: Final[Any] = {"X-Api-Key": anthropic.Omit(), "Authorization": anthropic.Omit()}
"""Headers for an endpoint without a key: the client sends no empty key and reads none from the environment."""


_OF_THE_BODY: Final = ("content-encoding", "content-length", "transfer-encoding")
"""Headers that describe the body as it came."""


def client_options() -> dict[str, Any]:
    """Arguments that every client of the SDK gets. Silence is bounded by `StreamedModel`, not by the client."""
    return {
        "max_retries": 0,
        "timeout": anthropic.Timeout(None, connect=CONNECT_TIMEOUT_S),
        "http_client": _HttpClient(follow_redirects=False),
        "open_telemetry": False,
    }


class _HttpClient(DefaultAioHttpClient):
    """Reads only the beginning of an error's body: the client of the SDK would read all of it into memory."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """See `httpx2.AsyncClient.send`."""
        response = await super().send(request, **options)
        if response.is_success:
            return response
        try:
            chunks = response.aiter_bytes()
            content = await beginning(lambda: anext(chunks, b""), ignore=SdkModel.ERRORS)
        finally:
            await response.aclose()
        told = [(name, text) for name, text in response.headers.multi_items() if name not in _OF_THE_BODY]
        return httpx2.Response(response.status_code, headers=told, content=content, request=request)


class SdkModel(StreamedModel):
    """A model behind a client of the SDK."""

    ERRORS: ClassVar = (anthropic.AnthropicError, httpx2.HTTPError, ClientError)

    def __init__(self, endpoint: Endpoint, client: Any) -> None:
        """`client` is an `AsyncAnthropic`, or one of the SDK's clients for a cloud."""
        super().__init__(endpoint)
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
            case httpx2.HTTPError() | ClientError():
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
        client = AsyncAnthropic(
            base_url=endpoint.base_url, api_key=endpoint.key, default_headers=headers, **client_options()
        )
        super().__init__(endpoint, client)


class SdkBody:
    """The body of a response of the SDK."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self.request_id = request_id(response.headers)
        self._chunks = self._decoded()

    def _decoded(self) -> AsyncIterator[bytes]:
        return self._response.aiter_bytes()

    async def read(self) -> bytes:
        return await anext(self._chunks, b"")

    async def close(self) -> None:
        await self._response.aclose()
