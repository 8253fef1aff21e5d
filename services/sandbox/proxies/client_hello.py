"""The name of the server that a TLS client asks for, read from its first message (RFC 8446, RFC 6066). Pure.

Read here and not by `ssl`, for two reasons. It does not show the extension that hides the name (ECH). And it would read
bytes that hostile code has chosen in C, in the process that holds the sandboxes of all sessions. Anything that two
readers could understand differently is refused.
"""

from typing import Final

import msgspec

HELLO_BYTES: Final = 16 * 1024
"""Largest message that is read. That of a usual client has 0.3 to 2 KB."""

ACCESS_DENIED: Final = bytes((21, 3, 3, 0, 2, 2, 49))
"""The record of a fatal alert `access_denied`."""

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_RECORD_BYTES: Final = 1 << 14
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0
_ENCRYPTED_HELLO: Final = 0xFE0D


class NotTls(Exception):
    """The bytes are not the beginning of TLS, or cannot be understood in one way only. The text says why."""


class Hello(msgspec.Struct, frozen=True):
    """What the first message of a client says. `server_name` is empty if it names none."""

    server_name: str
    hides_name: bool
    """Whether it has an encrypted part, in which another name may stand. Some browsers send a meaningless one."""


class _Reader:
    """Takes numbers and byte strings off the front of a message. Raises NotTls if it is too short."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def bytes(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise NotTls("its first message is cut off")
        taken, self._at = self._data[self._at : end], end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.bytes(size), "big")

    def vector(self, size: int) -> "_Reader":
        """A part that begins with its length, in `size` bytes."""
        return _Reader(self.bytes(self.number(size)))

    @property
    def is_done(self) -> bool:
        return self._at == len(self._data)


def read_hello(data: bytes) -> Hello | None:
    """The first message in the bytes from a client; None if it is not complete yet. Raises NotTls."""
    message = _handshake(data)
    if message is None:
        return None
    reader = _Reader(message)
    reader.bytes(2 + 32)  # version and random
    for size in (1, 2, 1):  # session, ciphers, compression
        reader.vector(size)
    if reader.is_done:
        return Hello("", hides_name=False)
    extensions = reader.vector(2)
    if not reader.is_done:
        raise NotTls("something follows the extensions of its first message")
    return _from_extensions(extensions)


def _handshake(data: bytes) -> bytes | None:
    """The body of the message, from as many records as it lies in; None if the data ends before."""
    body, rest = b"", data
    while True:
        if rest and (rest[0] != _HANDSHAKE or (len(rest) > 1 and rest[1] != 3)):
            raise NotTls("it does not begin with TLS")
        if len(rest) < 5:
            return _unfinished(data)
        size = int.from_bytes(rest[3:5], "big")
        if not 0 < size <= _RECORD_BYTES:
            raise NotTls("a record has an impossible length")
        body += rest[5 : 5 + size]
        if body and body[0] != _CLIENT_HELLO:
            raise NotTls("its first message is not that of a TLS client")
        end = 4 + int.from_bytes(body[1:4], "big") if len(body) >= 4 else 4
        if end > HELLO_BYTES:
            raise NotTls("its first message is too long")
        if len(rest) < 5 + size:
            return _unfinished(data)
        if len(body) > end:
            raise NotTls("something follows its first message")
        if len(body) == end and end > 4:
            return body[4:]
        rest = rest[5 + size :]


def _unfinished(data: bytes) -> None:
    if len(data) > 2 * HELLO_BYTES:  # records of a few bytes each
        raise NotTls("its first message is too long")


def _from_extensions(extensions: _Reader) -> Hello:
    name, seen = "", set[int]()
    while not extensions.is_done:
        kind = extensions.number(2)
        content = extensions.vector(2)
        if kind in seen:
            raise NotTls("an extension of its first message is there twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            name = _server_name(content)
    return Hello(name, hides_name=_ENCRYPTED_HELLO in seen)


def _server_name(content: _Reader) -> str:
    names = content.vector(2)
    kind, raw = names.number(1), names.vector(2)
    if kind != _HOST_NAME or not names.is_done or not content.is_done:
        raise NotTls("it asks for several servers")
    text = b""
    while not raw.is_done:
        text += raw.bytes(1)
    try:
        return text.decode("ascii")
    except UnicodeDecodeError:
        raise NotTls("the name of the server is not ASCII") from None
