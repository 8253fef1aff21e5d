"""Frames from and to the agent in a sandbox: encoding, decoding and checks. Pure.

All frames from the sandbox are untrusted: the model's code has the agent's rights and can forge any byte. The service
uses only the text and the media of a result, never a path, name or id from it. A frame that is too large, malformed,
or that answers no open call is a ProtocolViolation, for which the sandbox is killed.
"""

import contextlib
import struct
from typing import Annotated, Any, Final, Literal

import msgspec

from holdfast.bus.events import Block
from holdfast.sandbox.drivers.sandbox import Outcome

FRAME_BYTES: Final = 40 * 1024 * 1024
"""Largest frame: a PDF of 20 MiB in base64 is 27 MiB."""

TEXT_FRAME_BYTES: Final = 4 * 1024 * 1024
"""Largest frame of a tool that returns text alone: RESULT_TEXT_CHARS, each of which JSON may spell out as six."""

MEDIA_TOOLS: Final = frozenset({"read"})
"""Tools that return images and documents."""

RESULT_TEXT_CHARS: Final = 400_000
"""Characters of text in one result. The agent sends up to 100,000, and more where it spells out control characters."""

OUTPUT_TEXT_CHARS: Final = 100_000
"""Characters in one output frame. The agent sends 16,000, each of which may be spelled out as six (`\\u202e`)."""

OUTPUT_FRAME_BYTES: Final = 1024 * 1024
"""Bytes of one output frame: JSON may escape each character."""

RESULT_BLOCKS: Final = 4
"""Content blocks in one result."""

_HEADER: Final = struct.Struct(">I")

HEADER_BYTES: Final = _HEADER.size

_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="


class ProtocolViolation(Exception):
    """The sandbox sent bytes that the agent never sends: a forgery or a broken agent."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["base64"]
    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"]
    data: str


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=RESULT_TEXT_CHARS)]


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="image"):
    source: Source


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="document"):
    source: Source


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first frame: the agent is ready."""

    hello: Literal[1]


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The result of the call with the number `id`, which the service assigned."""

    id: int
    content: Annotated[list[Text | Image | Document], msgspec.Meta(min_length=1, max_length=RESULT_BLOCKS)]
    is_error: bool = False

    def outcome(self) -> Outcome:
        """The result, with control characters spelled out even if the agent did not do so."""
        return Outcome([_block(block) for block in self.content], self.is_error)


class OutputFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Output of the running call with the number `id` since the last such frame."""

    id: int
    output: Annotated[str, msgspec.Meta(min_length=1, max_length=OUTPUT_TEXT_CHARS)]

    def text(self) -> str:
        """The output with control characters spelled out."""
        return self.output.translate(_CONTROLS)


_hello = msgspec.json.Decoder(Hello)
_reply = msgspec.json.Decoder(Reply)
_output = msgspec.json.Decoder(OutputFrame)

_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(9), 11, 12, *range(14, 32), *range(127, 160))}


def _block(block: Text | Image | Document) -> Block:
    if isinstance(block, Text):
        return {"type": "text", "text": block.text.translate(_CONTROLS)}
    return msgspec.to_builtins(block)


def encode(frame: dict[str, Any]) -> bytes:
    """A frame for the agent, with its length in front."""
    data = msgspec.json.encode(frame)
    return _HEADER.pack(len(data)) + data


def largest(tool: str) -> int:
    """Bytes of the largest frame with a result of that tool."""
    return FRAME_BYTES if tool in MEDIA_TOOLS else TEXT_FRAME_BYTES


def size_of(header: bytes, most: int = FRAME_BYTES) -> int:
    """Bytes of the frame after this header. Raises ProtocolViolation if there are more than `most`."""
    size = int(_HEADER.unpack(header)[0])
    if size > most:
        raise ProtocolViolation(f"a frame of {size} bytes")
    return size


def decode_hello(data: bytes) -> Hello:
    """Raises ProtocolViolation."""
    try:
        return _hello.decode(data)
    except (msgspec.MsgspecError, UnicodeError) as exc:
        raise ProtocolViolation("no greeting") from exc


def decode_reply(data: bytes) -> Reply | OutputFrame:
    """Raises ProtocolViolation."""
    try:
        reply = _reply.decode(data)
        if all(isinstance(block, Text) or _is_base64(block.source.data) for block in reply.content):
            return reply
        raise ProtocolViolation("media that are not base64")
    except (msgspec.MsgspecError, UnicodeError) as exc:
        if len(data) <= OUTPUT_FRAME_BYTES:
            with contextlib.suppress(msgspec.MsgspecError, UnicodeError):
                return _output.decode(data)
        raise ProtocolViolation("a malformed frame") from exc


def _is_base64(text: str) -> bool:
    """Whether all characters are of base64. Raises UnicodeError. A regular expression takes ten times as long."""
    return not text.encode("ascii").translate(None, _BASE64)
