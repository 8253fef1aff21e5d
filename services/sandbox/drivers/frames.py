"""What comes out of a sandbox, taken apart and checked. All of it is untrusted: the model's code can forge any byte.

So nothing but the text of a result is ever used: no path, no name, no identifier. A frame that is too large, is not
what the protocol has, or answers something that was not asked is a breach, and the sandbox is killed for it.
"""

import contextlib
import struct
from typing import Annotated, Any, Final, Literal

import msgspec

from holdfast.bus.events import Block
from holdfast.sandbox.drivers.sandbox import Outcome

FRAME_LIMIT: Final = 40 * 1024 * 1024
"""Bytes of one frame: a PDF of 20 MiB in base64 and some."""

TEXT_LIMIT: Final = 400_000
"""Characters of text in one result; the agent keeps to 100,000, and a little more for spelled-out characters."""

PRINTED_LIMIT: Final = 100_000
"""Characters of output in one frame; the agent sends 16,000, each of which may be spelled out in six."""

PRINTED_BYTES: Final = 1024 * 1024
"""Bytes of such a frame: each character may be escaped."""

BLOCKS: Final = 4
"""Blocks in one result."""

_HEADER: Final = struct.Struct(">I")

Base64 = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9+/=]*$")]


class ProtocolViolation(Exception):
    """The sandbox said something that it cannot have said in good faith."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["base64"]
    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"]
    data: Base64


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_LIMIT)]


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="image"):
    source: Source


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="document"):
    source: Source


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The agent is ready."""

    hello: Literal[1]


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The result of the call that we gave the number `id`."""

    id: int
    content: Annotated[list[Text | Image | Document], msgspec.Meta(min_length=1, max_length=BLOCKS)]
    is_error: bool = False

    def outcome(self) -> Outcome:
        """The result with only what belongs into a log: no control characters, whoever let them pass."""
        return Outcome([_plain(block) for block in self.content], self.is_error)


class Printed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the running call with the number `id` has printed since the last such frame."""

    id: int
    output: Annotated[str, msgspec.Meta(min_length=1, max_length=PRINTED_LIMIT)]

    def text(self) -> str:
        """The text without control characters."""
        return self.output.translate(_POISON)


_hello = msgspec.json.Decoder(Hello)
_reply = msgspec.json.Decoder(Reply)
_printed = msgspec.json.Decoder(Printed)

_POISON: Final = {code: f"\\x{code:02x}" for code in (*range(9), 11, 12, *range(14, 32), *range(127, 160))}


def _plain(block: Text | Image | Document) -> Block:
    if isinstance(block, Text):
        return {"type": "text", "text": block.text.translate(_POISON)}
    return msgspec.to_builtins(block)


def encode(frame: dict[str, Any]) -> bytes:
    """A frame for the agent."""
    data = msgspec.json.encode(frame)
    return _HEADER.pack(len(data)) + data


def size_of(header: bytes) -> int:
    """Length of the frame that follows. Raises Breach when it is too large."""
    size = int(_HEADER.unpack(header)[0])
    if size > FRAME_LIMIT:
        raise ProtocolViolation(f"a frame of {size} bytes")
    return size


HEADER_BYTES: Final = _HEADER.size


def decode_hello(data: bytes) -> Hello:
    """Raises Breach."""
    try:
        return _hello.decode(data)
    except (msgspec.MsgspecError, UnicodeError) as exc:
        raise ProtocolViolation("no greeting") from exc


def decode_reply(data: bytes) -> Reply | Printed:
    """Raises Breach."""
    try:
        return _reply.decode(data)
    except (msgspec.MsgspecError, UnicodeError) as exc:
        if len(data) <= PRINTED_BYTES:
            with contextlib.suppress(msgspec.MsgspecError, UnicodeError):
                return _printed.decode(data)
        raise ProtocolViolation("a reply that is not one") from exc
