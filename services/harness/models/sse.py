"""Server-sent events: chunks of bytes in, JSON objects out. Pure."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from holdfast.harness.models.json_objects import Json, decode_object

SSE_EVENT_LIMIT_BYTES: Final = 8 * 1024 * 1024
"""Largest event that is read. An event is decoded at once: this size blocks the event loop for about 20 ms."""

STREAM_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of a stream, events that carry nothing included. A long response has about 20 MB."""

_SEPARATOR: Final = b"\n\n"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """An event exceeds SSE_EVENT_LIMIT_BYTES, or the stream STREAM_LIMIT_BYTES."""


class SseReader:
    """Splits a byte stream into events (WHATWG HTML, section 9.2.6) and decodes the JSON of their `data` lines."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        """Bytes of the event that is not complete yet, with line feeds alone as ends of lines."""
        self._scanned = 0
        """No separator begins before this offset of the buffer, so a large event is searched once, not per chunk."""
        self._after_return = False
        """The last chunk ended with a carriage return: a line feed that follows belongs to it."""
        self._received = 0
        """Bytes of all chunks."""
        self._began = False

    def feed(self, chunk: bytes) -> Iterator[Json]:
        """Yield the events that this chunk completes.

        Raises ValueError if the data of an event is no JSON object, EventTooLarge if it or the stream is too large.
        """
        self._received += len(chunk)
        if self._received > STREAM_LIMIT_BYTES:
            raise EventTooLarge("the stream is too large")
        self._buffer += self._lines(chunk)
        start = 0
        while (end := self._buffer.find(_SEPARATOR, max(start, self._scanned))) >= 0:
            if end - start > SSE_EVENT_LIMIT_BYTES:
                raise EventTooLarge("an event is too large")
            if (event := self._decode(self._buffer[start:end])) is not None:
                yield event
            start = end + len(_SEPARATOR)
        del self._buffer[:start]
        self._scanned = max(len(self._buffer) - 1, 0)
        if len(self._buffer) > SSE_EVENT_LIMIT_BYTES:
            raise EventTooLarge("an event is too large")

    def end(self) -> Iterator[Json]:
        """Yield the last event if the stream ended without the empty line behind it, as some servers do."""
        rest, self._buffer = self._buffer, bytearray()
        with suppress(ValueError):  # it broke off inside
            if (event := self._decode(rest)) is not None:
                yield event

    def _lines(self, chunk: bytes) -> bytes:
        """The chunk with each end of a line (CR, LF or both) as one line feed."""
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        if b"\r" not in chunk:
            return chunk
        self._after_return = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _decode(self, frame: bytearray) -> Json | None:
        """The JSON of the frame's `data` lines; None if it has none, such as a comment."""
        if not self._began:
            frame = frame.removeprefix(_BYTE_ORDER_MARK)
            self._began = True
        data = b"\n".join(line[5:].strip() for line in frame.split(b"\n") if line.startswith(b"data:"))
        if not data:
            return None
        try:
            return decode_object(data)
        except ValueError as exc:
            raise ValueError(f"an event is no JSON object ({exc})") from None
