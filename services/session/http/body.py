"""The body of a request, within the limits of the edge in bytes and seconds."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Receive

from holdfast.session.http import errors

UNCHARGED_BODY_BYTES: Final = 64 * 1024
"""The first 64 KiB of a body are not charged to the budget, so small requests pass while large uploads fill it."""

REFUSED_BODY_DRAIN_BYTES: Final = 64 * 1024 * 1024
REFUSED_BODY_DRAIN_S: Final = 5.0
"""After a refusal the edge keeps reading up to 64 MiB or 5 s, or the client gets a reset instead of the answer."""


class ClientDisconnected(Exception):
    """The client closed the connection: nobody reads an answer."""


class BodyBudget:
    """The bytes that large bodies may take together, of all requests in progress."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def charge(self, size: int) -> None:
        """Raises ApiError 429 when `size` bytes are not left."""
        if size > self._left:
            raise errors.busy()
        self._left -= size

    def refund(self, size: int) -> None:
        self._left += size


class RequestBody:
    """Reads one body, at most once. What it charges to the budget stays charged until `release`.

    `limit` is in bytes; `timeout` is the longest silence of the client, in seconds.
    """

    def __init__(self, receive: Receive, headers: Headers, budget: BodyBudget, *, limit: int, timeout: float) -> None:
        self._receive = receive
        self._budget = budget
        self._charged = 0
        self._limit = limit
        self._timeout = timeout
        self._content_length = headers.get("content-length", "")
        self._more = bool(self._content_length.strip("0")) or "transfer-encoding" in headers

    def restrict(self, limit: int, budget: BodyBudget | None) -> None:
        """Take at most `limit` bytes, and charge them to another budget if one is given; before `read`."""
        self._limit = min(self._limit, limit)
        self._budget = budget or self._budget

    async def read(self) -> bytes:
        """The whole body. Raises ApiError 408, 413 (also for a chunked body) and 429, and ClientDisconnected."""
        if self._content_length.isdecimal() and int(self._content_length) > self._limit:
            raise errors.too_large(self._limit)
        chunks: list[bytes] = []
        size = 0
        while self._more:
            try:
                async with asyncio.timeout(self._timeout):
                    chunk = await self._chunk()
            except TimeoutError:
                self._more = False
                raise errors.too_slow() from None
            size += len(chunk)
            if size > self._limit:
                raise errors.too_large(self._limit)
            if size - UNCHARGED_BODY_BYTES > self._charged:
                self._budget.charge(size - UNCHARGED_BODY_BYTES - self._charged)
                self._charged = size - UNCHARGED_BODY_BYTES
            chunks.append(chunk)
        return b"".join(chunks)

    @property
    def declared_bytes(self) -> int | None:
        """The size that the client has declared; None for a chunked body."""
        return int(self._content_length) if self._content_length.isdecimal() else None

    async def pieces(self, limit: int) -> AsyncIterator[bytes]:
        """The body as it comes, at most `limit` bytes in all, in place of `read`.

        Nothing is charged to the budget: whoever asks for a piece has done with the one before, and the client is not
        read from meanwhile. Raises ApiError 408 and 413, and ClientDisconnected.
        """
        if (self.declared_bytes or 0) > limit:
            raise errors.too_large(limit)
        size = 0
        while self._more:
            try:
                async with asyncio.timeout(self._timeout):
                    piece = await self._chunk()
            except TimeoutError:
                self._more = False
                raise errors.too_slow() from None
            size += len(piece)
            if size > limit:
                raise errors.too_large(limit)
            yield piece

    def release(self) -> None:
        """Give back what was charged: the request is over, and the values decoded from its body are gone."""
        self._budget.refund(self._charged)
        self._charged = 0

    async def drain(self) -> None:
        """Read and drop the rest for a while, so that the client gets to see a refusal."""
        size = 0
        try:
            async with asyncio.timeout(REFUSED_BODY_DRAIN_S):
                while self._more and size < REFUSED_BODY_DRAIN_BYTES:
                    size += len(await self._chunk())
        except (TimeoutError, ClientDisconnected):
            self._more = False

    async def _chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._more = False
            raise ClientDisconnected
        self._more = message.get("more_body", False)
        return message.get("body", b"")
