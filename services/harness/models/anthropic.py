"""The Messages API with the requests of the `anthropic` SDK.

The client of the SDK makes one request, which is not sent: it says to which address requests go, and with which headers
(key, versions, what the SDK tells of itself). Each request of a session repeats these with its own body, and is sent
and read as `messages` does: the client would need another millisecond of processor time for each, to make the same
headers again. That they are the same each time is a test in `test_private_interfaces.py`.
"""

from typing import Any, ClassVar, Final

import anthropic
import httpx2
from anthropic import AsyncAnthropic, AsyncStream

from holdfast.harness.models.failures import Progress
from holdfast.harness.models.interface import Endpoint, ModelFailure
from holdfast.harness.models.messages import MessagesModel
from holdfast.harness.models.streamed_model import ResponseBody

_WITHOUT_KEY: Final[Any] = {"X-Api-Key": anthropic.Omit(), "Authorization": anthropic.Omit()}
"""Headers for an endpoint without a key: the client sends no empty key and reads none from the environment."""

_OF_THE_CONNECTION: Final = ("accept-encoding", "connection", "content-length", "host", "transfer-encoding")
"""Headers that aiohttp makes for each request: what it can decompress, and how the body is sent."""


class AnthropicModel(MessagesModel):
    """Speaks to any endpoint that serves the Messages API. To be made on the event loop."""

    ERRORS: ClassVar = (*MessagesModel.ERRORS, anthropic.AnthropicError)

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._is_prepared = False
        self._kept = _KeepsRequest()
        headers: dict[str, Any] = {}
        if not endpoint.key:
            headers = _WITHOUT_KEY
        elif endpoint.auth == "x-api-key":
            headers = {"X-Api-Key": endpoint.key, "Authorization": anthropic.Omit()}
        if endpoint.betas:
            headers = {**headers, "anthropic-beta": ",".join(endpoint.betas)}
        self._client = AsyncAnthropic(
            base_url=endpoint.base_url,
            api_key=endpoint.key,
            default_headers={**headers, "content-type": "application/json"},
            max_retries=0,
            timeout=anthropic.Timeout(None),
            http_client=httpx2.AsyncClient(transport=self._kept, trust_env=False),
            open_telemetry=False,
        )

    async def _close(self) -> None:
        await self._client.close()
        await super()._close()

    async def _send(self, body: dict[str, Any]) -> ResponseBody:
        if not self._is_prepared:
            await self._prepare()
        return await super()._send(body)

    async def _prepare(self) -> None:
        """Let the client make a request, and take its address and headers. Raises AnthropicError."""
        await self._client.post(
            "/v1/messages", cast_to=httpx2.Response, content=b"{}", stream=True, stream_cls=AsyncStream[Any]
        )
        request = self._kept.request
        self._url = str(request.url)
        self._headers = {n: text for n, text in request.headers.items() if n not in _OF_THE_CONNECTION}
        self._is_prepared = True

    def _failure(self, exc: Exception, progress: Progress) -> ModelFailure | None:
        if isinstance(exc, anthropic.AnthropicError):
            return self._failures.no_credentials(exc)
        return super()._failure(exc, progress)


class _KeepsRequest(httpx2.AsyncBaseTransport):
    """Sends nothing: it keeps the request, and answers it with an empty success."""

    request: httpx2.Request

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`."""
        self.request = request
        return httpx2.Response(200)
