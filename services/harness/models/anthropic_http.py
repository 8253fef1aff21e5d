"""The HTTP client that the clients of the `anthropic` SDK send through: `AiohttpSender`, in the form that they take.

The SDK documents that a client may be given; its own, also the one over aiohttp, merges headers, addresses and cookies
once more, and wraps a response four times: more than half a millisecond of processor time for each request.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import httpx2
from aiohttp import ClientError

from holdfast.harness.models.aiohttp_sender import AiohttpSender
from holdfast.harness.models.streamed_model import beginning

_OF_AIOHTTP: Final = ("accept-encoding", "connection", "content-length", "host", "transfer-encoding")
"""Headers that aiohttp makes by itself."""

_OF_THE_BODY: Final = (b"content-encoding", b"content-length", b"transfer-encoding")
"""Headers that describe the body as it came."""


class SdkHttpClient(httpx2.AsyncClient):
    """Sends what a client of the SDK has built. `open` it before, once that client knows its address."""

    def __init__(self) -> None:
        self._sending = _Sending()
        super().__init__(transport=self._sending, trust_env=False)

    def open(self, base_url: str) -> None:
        """Get ready to send to the endpoint at that address. Raises BadSettings for its proxy."""
        self._sending.sender = AiohttpSender(base_url)

    def build_request(self, method: str, url: httpx2.URL | str, **given: Any) -> httpx2.Request:
        """See `httpx2.AsyncClient.build_request`: this one adds no headers, parameters and cookies of its own."""
        given.pop("timeout", None)
        return httpx2.Request(method, url, **given)

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """See `httpx2.AsyncClient.send`. Of an error status only the beginning of the body is read."""
        if not stream or options:  # such as `auth`, which a token that is renewed needs
            return await super().send(request, stream=stream, **options)
        return await self._sending.handle_async_request(request)


class _Sending(httpx2.AsyncBaseTransport):
    """Sends by a sender, which it closes."""

    sender: AiohttpSender | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`. Raises ClientError, OSError."""
        headers = {name: text for name, text in request.headers.items() if name not in _OF_AIOHTTP}
        assert self.sender is not None
        response = await self.sender.post(str(request.url), headers, request.content)
        told = [(name, text) for name, text in response.raw_headers if name.lower() not in _OF_THE_BODY]
        body = DecodedStream(response)
        if response.ok and response.status < 300:
            return httpx2.Response(response.status, headers=told, stream=body, request=request)
        try:
            content = await beginning(body.read, ignore=(ClientError, OSError))
            return httpx2.Response(response.status, headers=told, content=content, request=request)
        finally:
            response.close()

    async def aclose(self) -> None:
        """See `httpx2.AsyncBaseTransport`."""
        if self.sender is not None:
            await self.sender.close()


class DecodedStream(httpx2.AsyncByteStream):
    """The body of a response, decompressed."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def read(self) -> bytes:
        """The next bytes; empty at the end. Raises ClientError, OSError."""
        return await self._response.content.readany()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read():
            yield chunk

    async def aclose(self) -> None:
        """Close the connection; one whose response was read to its end has been given back already."""
        self._response.close()
