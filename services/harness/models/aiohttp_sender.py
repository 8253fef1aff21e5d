"""Sends requests over aiohttp, for every kind of client.

- TLS is verified with the certificates of the system, or those that SSL_CERT_FILE and SSL_CERT_DIR name.
- A proxy comes from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, read once. aiohttp's own `trust_env` would read
  them in another thread for each request, and would send a password from ~/.netrc.
- Redirects are refused, because a request that follows one takes the key and the conversation to another address.
- Connections are kept for the next request. If the server closes one at the moment in which it is used again, the
  request is sent once more at once: no response had begun, and a model request changes nothing at the server.
"""

import io
import urllib.request
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp import ClientConnectionResetError, ClientOSError, ClientTimeout, ServerDisconnectedError

from holdfast.harness.models.streamed_model import CONNECT_TIMEOUT_S
from holdfast.process.settings import BadSettings

KEEPALIVE_TIMEOUT_S: Final = 60.0
"""Time for which an idle connection is kept. Tool calls between two requests often take longer than aiohttp's 15 s."""


class AiohttpSender:
    """Sends to the endpoint at `base_url`. To be made on the event loop. Raises BadSettings for its proxy."""

    def __init__(self, base_url: str) -> None:
        reuse = aiohttp.TraceConfig()
        reuse.on_connection_reuseconn.append(_note_reuse)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            proxy=_proxy(base_url),
            trace_configs=[reuse],
        )

    async def close(self) -> None:
        await self._session.close()

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> aiohttp.ClientResponse:
        """Send the body; return when the headers of the response have arrived. Raises ClientError, OSError.

        The body of the response is decompressed.
        """
        attempt = _Attempt()
        try:
            return await self._post(url, headers, content, attempt)
        except (ServerDisconnectedError, ClientOSError, ClientConnectionResetError):
            if not attempt.reused:
                raise
            return await self._post(url, headers, content, _Attempt())

    async def _post(
        self, url: str, headers: Mapping[str, str], content: bytes, attempt: "_Attempt"
    ) -> aiohttp.ClientResponse:
        # From a file object aiohttp sends piece by piece: the event loop goes on while megabytes are sent.
        data = io.BytesIO(content)
        return await self._session.post(
            url, data=data, headers=headers, allow_redirects=False, trace_request_ctx=attempt
        )


class _Attempt(msgspec.Struct):
    """One sending of a request."""

    reused: bool = False
    """True if it was sent on a connection that an earlier request had opened."""


async def _note_reuse(_: object, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.reused = True


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
