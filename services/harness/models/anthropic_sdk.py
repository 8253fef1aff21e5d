"""Requests through the clients of the `anthropic` SDK for clouds, one client per process.

The client connects, authenticates and raises its errors. Two things are done around it:

- Responses are read as bytes (the client's documented raw response), as `streamed_model` does for every kind.
- HTTP goes through aiohttp, which the SDK offers as an alternative: with fifty sessions at once a request costs half
  the processor time, because the default's pool walks over all its connections for each request.

The client makes no retries, no spans, and follows no redirect: it would take the key to another address.
"""

from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final, cast

import anthropic
import httpx2
from aiohttp import ClientError
from anthropic import AsyncStream, DefaultAioHttpClient

from holdfast.harness.models.failure_causes import request_id
from holdfast.harness.models.failures import ErrorStatus, Progress
from holdfast.harness.models.interface import Endpoint, ModelFailure
from holdfast.harness.models.streamed_model import CONNECT_TIMEOUT_S, StreamedModel, beginning

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
    """A model behind a client of the SDK. A kind adds `_send`."""

    ERRORS: ClassVar = (anthropic.AnthropicError, httpx2.HTTPError, ClientError)

    def __init__(self, endpoint: Endpoint, client: Any) -> None:
        """`client` is one of the SDK's clients for a cloud."""
        super().__init__(endpoint)
        self._client = client
        self._headers = {"anthropic-beta": ",".join(endpoint.betas)} if endpoint.betas else {}

    async def _close(self) -> None:
        await self._client.close()

    async def _post(self, body: dict[str, Any]) -> httpx2.Response:
        """Send the request. The client encodes the body, as it moves parts of it into the path or the headers."""
        response = await self._client.post(
            "/v1/messages",
            cast_to=httpx2.Response,
            body=body,
            options={"headers": self._headers},
            stream=True,
            stream_cls=AsyncStream[Any],
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
