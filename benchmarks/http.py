"""A lean HTTP client for load: prepared bytes out, status and body in, one request at a time on each connection.

The SDK costs more processor time a call than the service that answers it, so on a small machine it would measure
itself. Only what our own edge sends is understood: a Content-Length.
"""

import asyncio
import json
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

Json = dict[str, Any]


class Connection:
    """One kept-alive connection with a key."""

    def __init__(self, base_url: str, api_key: str) -> None:
        where = urlsplit(base_url)
        self._host, self._port = where.hostname or "", where.port or 80
        self._headers = f"host: {where.netloc}\r\nx-api-key: {api_key}\r\ncontent-type: application/json\r\n"
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def prepare(self, path: str, body: Json) -> bytes:
        """A POST as it goes over the wire."""
        data = json.dumps(body).encode()
        return f"POST {path} HTTP/1.1\r\n{self._headers}content-length: {len(data)}\r\n\r\n".encode() + data

    def get(self, path: str) -> bytes:
        """A GET as it goes over the wire."""
        return f"GET {path} HTTP/1.1\r\n{self._headers}\r\n".encode()

    async def ask(self, request: bytes) -> bytes:
        """Send, and return the body. Raises AssertionError unless the status is 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        at = head.lower().index(b"content-length:") + len(b"content-length:")
        body = await self._reader.readexactly(int(head[at : head.index(b"\r\n", at)]))
        assert head.startswith(b"HTTP/1.1 200"), head + body
        return body
