"""The HTTP/1.1 protocol of one connection: uvicorn's, with limits that uvicorn lacks.

- The head of a request is limited in bytes and time. A client without a key could otherwise fill the memory with one
  endless header, or hold descriptors for ever.
- A client that does not read what it is sent is disconnected. What waits for it could otherwise stay in memory for
  ever, also after the answer has ended: closing a connection waits until everything is sent.
"""

import asyncio
from typing import Any, Final

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_HEAD_BYTES: Final = 64 * 1024
"""Largest request line with its headers, when they arrive in more than one piece."""

REQUEST_HEAD_TIMEOUT_S: Final = 30.0
SEND_TIMEOUT_S: Final = 30.0
"""The defaults of the two limits in seconds, see `BoundedHttpProtocol`."""


SEND_MIN_BYTES: Final = 32 * 1024
"""Bytes that a client must take within `send_timeout`, or half of those that wait for it if they are fewer."""

_log = structlog.get_logger()


class BoundedHttpProtocol(HttpToolsProtocol):
    """Answers 400 and closes when the head of a request is too large or too slow; disconnects who does not read."""

    def __init__(
        self,
        *args: Any,
        head_timeout: float = REQUEST_HEAD_TIMEOUT_S,
        send_timeout: float = SEND_TIMEOUT_S,
        **kwargs: Any,
    ) -> None:
        """`head_timeout`: longest time from the connection, or from the first byte of a further request, to the end of
        the headers. `send_timeout`: time between two looks at whether the client reads. Both are in seconds.
        """
        super().__init__(*args, **kwargs)
        self._head_timeout = head_timeout
        self._send_timeout = send_timeout
        self._head_bytes: int | None = 0
        """Bytes of the head received so far; None while no head is being received."""
        self._deadline: asyncio.TimerHandle | None = None
        self._send_check: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self._head_timeout, self._refuse, "The request took too long.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_ended()
        self._sent()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._head_timeout, self._refuse, "The request took too long.")

    def on_headers_complete(self) -> None:
        self._head_ended()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > REQUEST_HEAD_BYTES:
                self._refuse("The headers are too large.")

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._send_check is None:
            self._check_later()

    def resume_writing(self) -> None:
        self._sent()
        super().resume_writing()

    def _check_later(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._send_check = self.loop.call_later(self._send_timeout, self._check_sent, waiting)

    def _check_sent(self, waited: int) -> None:
        """`waited`: bytes that waited to be sent at the last check. While any wait, nothing is added to them."""
        if waited - self.transport.get_write_buffer_size() < min(SEND_MIN_BYTES, waited // 2):
            _log.warning("client disconnected: it does not read", waiting_bytes=waited)
            self.transport.abort()
        else:
            self._check_later()

    def _sent(self) -> None:
        if self._send_check is not None:
            self._send_check.cancel()
            self._send_check = None

    def _refuse(self, why: str) -> None:
        self._head_ended()
        if not self.transport.is_closing():
            self.send_400_response(why)

    def _head_ended(self) -> None:
        self._head_bytes = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
