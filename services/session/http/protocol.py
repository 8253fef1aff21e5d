"""One HTTP connection: uvicorn's, with bounds on the head of a request, for which uvicorn has none.

Without them a client without a key could fill the memory with one endless header, or hold descriptors for ever.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request line with its headers, in more than one piece."""

HEAD_TIMEOUT: Final = 30.0
"""Seconds from the connection, or from the first byte of a further request, to the end of the headers."""


class Connection(HttpToolsProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: int | None = 0
        """Bytes of the head so far; None while no head is being received."""
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_TIMEOUT, self._refuse, "The request took too long.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_ended()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        if self._late is None:
            self._late = self.loop.call_later(HEAD_TIMEOUT, self._refuse, "The request took too long.")

    def on_headers_complete(self) -> None:
        self._head_ended()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head is not None:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse("The headers are too large.")

    def _refuse(self, why: str) -> None:
        self._head_ended()
        if not self.transport.is_closing():
            self.send_400_response(why)

    def _head_ended(self) -> None:
        self._head = None
        if self._late is not None:
            self._late.cancel()
            self._late = None
