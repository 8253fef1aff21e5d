"""The Messages API over aiohttp alone, for any endpoint that speaks it.

The `anthropic` package is not imported: its import takes more than a second and 50 MB, and each of its requests about
a millisecond of processor time. What its client does for a request is little, and is here:

- Address, key, `anthropic-version`, betas. Trace context and baggage are not sent to a provider.
- TLS is verified with the certificates of the system, or those that SSL_CERT_FILE and SSL_CERT_DIR name.
- A proxy comes from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, read once. aiohttp's own `trust_env` would read
  them in another thread for each request, and would send a password from ~/.netrc.
- Redirects are refused, because a request that follows one takes the key and the conversation to another address.
- Connections are kept for the next request. If the server closes one at the moment in which it is used again, the
  request is sent once more at once: no response had begun, and a model request changes nothing at the server.
"""

import io
import urllib.request
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp import (
    ClientConnectionResetError,
    ClientError,
    ClientOSError,
    ClientTimeout,
    ConnectionTimeoutError,
    ServerDisconnectedError,
)

from holdfast.harness.models.failure_causes import request_id
from holdfast.harness.models.failures import ErrorStatus, Progress
from holdfast.harness.models.interface import Endpoint, ModelFailure
from holdfast.harness.models.streamed_model import CONNECT_TIMEOUT_S, ResponseBody, StreamedModel, beginning
from holdfast.process.settings import BadSettings

API_VERSION: Final = "2026-10-21"
"""`anthropic-version`: that of the SDK, so that both kinds get the same events; a test compares them."""

KEEPALIVE_TIMEOUT_S: Final = 60.0
"""Time for which an idle connection is kept. Tool calls between two requests often take longer than aiohttp's 15 s."""


class MessagesModel(StreamedModel):
    """Speaks to any endpoint that serves the Messages API. To be made on the event loop."""

    ERRORS: ClassVar = (ClientError, ErrorStatus, OSError)

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._url = endpoint.base_url.rstrip("/") + "/v1/messages"
        reuse = aiohttp.TraceConfig()
        reuse.on_connection_reuseconn.append(_note_reuse)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_headers(endpoint),
            timeout=ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            proxy=_proxy(endpoint.base_url),
            trace_configs=[reuse],
        )

    async def _close(self) -> None:
        await self._session.close()

    async def _send(self, body: dict[str, Any]) -> ResponseBody:
        content = msgspec.json.encode(body)
        attempt = _Attempt()
        try:
            response = await self._post(content, attempt)
        except (ServerDisconnectedError, ClientOSError, ClientConnectionResetError):
            if not attempt.reused:
                raise
            response = await self._post(content, _Attempt())
        if response.ok and response.status < 300:
            return _Body(response)
        try:
            content = await beginning(response.content.readany, ignore=(ClientError, OSError))
            raise ErrorStatus(response.status, response.headers, content)
        finally:
            response.close()

    async def _post(self, content: bytes, attempt: "_Attempt") -> aiohttp.ClientResponse:
        """Send the body; return when the headers of the response have arrived. Raises ClientError, OSError."""
        # From a file object aiohttp sends piece by piece: the event loop goes on while megabytes are sent.
        data = io.BytesIO(content)
        return await self._session.post(self._url, data=data, allow_redirects=False, trace_request_ctx=attempt)

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


class _Attempt(msgspec.Struct):
    """One sending of a request."""

    reused: bool = False
    """True if it was sent on a connection that an earlier request had opened."""


async def _note_reuse(_: object, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.reused = True


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


def _proxy(base_url: str) -> str | None:
    """The proxy for an address according to the variables of the environment; None: connect directly.

    Raises BadSettings for a proxy of a kind that aiohttp does not speak.
    """
    parts = urlsplit(base_url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.netloc):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise BadSettings(f"{parts.scheme.upper()}_PROXY or ALL_PROXY: must be an address with http:// or https://")
    return proxy
