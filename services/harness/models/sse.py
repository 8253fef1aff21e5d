"""Server-sent events: chunks of bytes in, JSON objects out. Pure."""

from typing import Any, Final

import msgspec

Json = dict[str, Any]

SSE_EVENT_LIMIT_BYTES: Final = 32 * 1024 * 1024
"""Largest event that is read."""

_SEPARATOR: Final = b"\n\n"

_decoder = msgspec.json.Decoder(Json)


class SseReader:
    """Splits a byte stream into events (WHATWG HTML, section 9.2.6) and decodes the JSON of their `data` lines."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        """Bytes of the event that is not complete yet, without carriage returns."""
        self._scanned = 0
        """No separator begins before this offset of the buffer, so a large event is searched once, not per chunk."""

    def feed(self, chunk: bytes) -> list[Json]:
        """Return the events that this chunk completes.

        Raises ValueError if the data of an event is no JSON object, or if an event exceeds SSE_EVENT_LIMIT_BYTES.
        """
        self._buffer += chunk.replace(b"\r", b"") if b"\r" in chunk else chunk
        events: list[Json] = []
        start = 0
        while (end := self._buffer.find(_SEPARATOR, max(start, self._scanned))) >= 0:
            if (event := _decode(self._buffer[start:end])) is not None:
                events.append(event)
            start = end + len(_SEPARATOR)
        del self._buffer[:start]
        self._scanned = max(len(self._buffer) - 1, 0)
        if len(self._buffer) > SSE_EVENT_LIMIT_BYTES:
            raise ValueError("an event is too large")
        return events


def _decode(frame: bytearray) -> Json | None:
    """The JSON of the frame's `data` lines; None if it has none, such as a comment."""
    data = b"\n".join(line[5:].strip() for line in frame.split(b"\n") if line.startswith(b"data:"))
    if not data:
        return None
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError(f"an event is no JSON object ({exc})") from None
