"""The HTTP/1.1 protocol of one connection: uvicorn's, with limits on the head of a request, which uvicorn lacks.

Without the limits a client without a key could fill the memory with one endless header, or hold descriptors for ever.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_HEAD_BYTES: Final = 64 * 1024
"""Largest request line with its headers, when they arrive in more than one piece."""

REQUEST_HEAD_TIMEOUT_S: Final = 30.0
"""Longest time from the connection, or from the first byte of a further request, to the end of the headers."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Answers 400 and closes when the head of a request is too large or too slow."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes: int | None = 0
        """Bytes of the head received so far; None while no head is being received."""
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(REQUEST_HEAD_TIMEOUT_S, self._refuse, "The request took too long.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_ended()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_HEAD_TIMEOUT_S, self._refuse, "The request took too long.")

    def on_headers_complete(self) -> None:
        self._head_ended()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > REQUEST_HEAD_BYTES:
                self._refuse("The headers are too large.")

    def _refuse(self, why: str) -> None:
        self._head_ended()
        if not self.transport.is_closing():
            self.send_400_response(why)

    def _head_ended(self) -> None:
        self._head_bytes = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
