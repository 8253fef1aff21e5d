"""The Messages API over aiohttp alone, for any endpoint that speaks it.

The `anthropic` package is not imported: its import takes more than a second and 50 MB. What its client does for a
request is little, and is here: address, key, `anthropic-version`, betas. Trace context and baggage are not sent to a
provider. `aiohttp_sender` says how a request is sent.
"""

from importlib.metadata import version
from typing import Any, ClassVar, Final

import aiohttp
import msgspec
from aiohttp import ClientError, ConnectionTimeoutError

from holdfast.harness.models.aiohttp_sender import AiohttpSender
from holdfast.harness.models.failure_causes import request_id
from holdfast.harness.models.failures import ErrorStatus, Progress
from holdfast.harness.models.interface import Endpoint, ModelFailure
from holdfast.harness.models.streamed_model import ResponseBody, StreamedModel, beginning

API_VERSION: Final = "2026-10-21"
"""`anthropic-version`: that of the SDK, so that both kinds get the same events; a test compares them."""


class MessagesModel(StreamedModel):
    """Speaks to any endpoint that serves the Messages API. To be made on the event loop."""

    ERRORS: ClassVar = (ClientError, ErrorStatus, OSError)

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._url = endpoint.base_url.rstrip("/") + "/v1/messages"
        self._headers = _headers(endpoint)
        self._sender = AiohttpSender(endpoint.base_url)

    async def _close(self) -> None:
        await self._sender.close()

    async def _send(self, body: dict[str, Any]) -> ResponseBody:
        response = await self._sender.post(self._url, self._headers, msgspec.json.encode(body))
        if response.ok and response.status < 300:
            return _Body(response)
        try:
            content = await beginning(response.content.readany, ignore=(ClientError, OSError))
            raise ErrorStatus(response.status, response.headers, content)
        finally:
            response.close()

    def _failure(self, exc: Exception, progress: Progress) -> ModelFailure | None:
        match exc:
            case ErrorStatus():
                return self._failures.status(exc)
            case TimeoutError() if not isinstance(exc, ConnectionTimeoutError):
                return self._failures.silent(progress)
            case ClientError() | OSError() if progress.answered:
                return self._failures.broke_off(exc, progress)
            case ClientError() | OSError():
                return self._failures.unreachable(exc)
            case _:
                return None


class _Body:
    """The body of a response."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.request_id = request_id(response.headers)

    async def read(self) -> bytes:
        return await self._response.content.readany()

    async def close(self) -> None:
        self._response.close()  # a body that was read to its end has already given its connection back


def _headers(endpoint: Endpoint) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "anthropic-version": API_VERSION,
        "user-agent": f"holdfast/{version('holdfast-agents')}",
    }
    if endpoint.betas:
        headers["anthropic-beta"] = ",".join(endpoint.betas)
    if endpoint.key and endpoint.auth == "bearer":
        headers["authorization"] = f"Bearer {endpoint.key}"
    elif endpoint.key:
        headers["x-api-key"] = endpoint.key
    return headers
