"""Content blocks that clients send: their types, and the check that the Messages API will take them. Pure.

A block that is accepted stays in the log for ever and is sent to the model with every later request. So a block that
the Messages API would refuse is refused here: every later turn of the session would fail.
"""

import binascii
import re
from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from holdfast.bus.events import Block
from holdfast.session.http.errors import NOT_AVAILABLE, ApiError, invalid

MAX_BLOCKS: Final = 1_000
"""Content blocks of one event."""

MAX_IMAGE_BYTES: Final = 5 * 1024 * 1024
"""Largest image, in decoded bytes: the limit of the Messages API."""

MAX_URL_CHARS: Final = 2_048
"""Longest URL, in characters."""


class Tagged(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="type"
):
    """A part of a request whose `type` says which one it is."""


class Base64(Tagged, frozen=True, kw_only=True, tag="base64"):
    media_type: str
    data: str


class Url(Tagged, frozen=True, kw_only=True, tag="url"):
    url: str


class File(Tagged, frozen=True, kw_only=True, tag="file"):
    file_id: str


class PlainText(Tagged, frozen=True, kw_only=True, tag="text"):
    media_type: Literal["text/plain"]
    data: str


class Text(Tagged, frozen=True, kw_only=True, tag="text"):
    text: str


class Image(Tagged, frozen=True, kw_only=True, tag="image"):
    source: Base64 | Url | File


class Document(Tagged, frozen=True, kw_only=True, tag="document"):
    source: Base64 | PlainText | Url | File
    title: str | None = None
    context: str | None = None


class Redacted(Tagged, frozen=True, kw_only=True, tag="redacted"):
    pass


class Citations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool


class SearchResult(Tagged, frozen=True, kw_only=True, tag="search_result"):
    source: str
    title: str
    content: list[Text]
    citations: Citations


MessageBlock = Text | Image | Document | Redacted
ResultBlock = Text | Image | Document | SearchResult

_IMAGE_TYPES: Final = ("image/png", "image/jpeg", "image/gif", "image/webp")
_DOCUMENT_TYPES: Final = ("application/pdf",)

_MAGIC: Final = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "application/pdf": re.compile(rb"%PDF-"),
}
"""How content of a media type begins."""

_MAGIC_BASE64_CHARS: Final = 64
"""Characters of base64 that hold the beginning."""


def to_blocks(blocks: Sequence[MessageBlock | ResultBlock]) -> list[Block]:
    """The blocks, which have been checked, as events hold them: plain JSON objects.

    A picture gets the media type of its content: the Messages API refuses a picture that is declared as another kind.
    """
    return [msgspec.to_builtins(_as_it_is(block)) for block in blocks]


def _as_it_is(block: MessageBlock | ResultBlock) -> MessageBlock | ResultBlock:
    if isinstance(block, Image) and isinstance(block.source, Base64):
        actual = _media_type(binascii.a2b_base64(block.source.data[:_MAGIC_BASE64_CHARS]))
        return msgspec.structs.replace(block, source=msgspec.structs.replace(block.source, media_type=actual))
    return block


def check_blocks(blocks: Sequence[MessageBlock | ResultBlock], at: str) -> None:
    """Raise ApiError 400 for the first block that the Messages API would refuse. `at`: the path of the list."""
    if len(blocks) > MAX_BLOCKS:
        raise invalid(
            f"{at}: {len(blocks)} content blocks; an event may hold at most {MAX_BLOCKS}. Merge or split them."
        )
    for index, block in enumerate(blocks):
        problem = _check(block, f"{at}[{index}]")
        if problem:
            raise problem


def _check(block: MessageBlock | ResultBlock, at: str) -> ApiError | None:
    match block:
        case Text(text=text):
            return None if text.strip() else invalid(f"{at}.text: a text block must not be empty; leave the block out")
        case Image(source=source):
            return _source(source, f"{at}.source", _IMAGE_TYPES)
        case Document(source=source):
            return _source(source, f"{at}.source", _DOCUMENT_TYPES)
        case SearchResult(content=content):
            return _search_result(block, content, at)
        case Redacted():
            return invalid(f"{at}: `redacted` blocks are made by the server only; they cannot be sent")


def _search_result(block: SearchResult, content: list[Text], at: str) -> ApiError | None:
    if not block.source.strip() or not block.title.strip():
        return invalid(f"{at}: a search result needs a `source` and a `title`")
    if not content:
        return invalid(f"{at}.content: a search result needs at least one text block")
    return next((p for i, text in enumerate(content) if (p := _check(text, f"{at}.content[{i}]"))), None)


def _source(source: Base64 | PlainText | Url | File, at: str, media_types: tuple[str, ...]) -> ApiError | None:
    match source:
        case File():
            text = f"{at}: `file` sources are not available in this version; send the content as `base64`"
            return invalid(text, code=NOT_AVAILABLE)
        case Url(url=url):
            return _url(url, f"{at}.url")
        case PlainText(data=data):
            return None if data.strip() else invalid(f"{at}.data: a document must not be empty")
        case Base64():
            return _base64(source, at, media_types)


def _url(url: str, at: str) -> ApiError | None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and len(url) <= MAX_URL_CHARS
    except ValueError:
        good = False
    return None if good else invalid(f"{at}: give a full http or https URL of at most {MAX_URL_CHARS} characters")


def _base64(source: Base64, at: str, media_types: tuple[str, ...]) -> ApiError | None:
    if source.media_type not in media_types:
        return invalid(f"{at}.media_type: not supported here; use one of {', '.join(media_types)}")
    try:
        data = binascii.a2b_base64(source.data, strict_mode=True)
    except (binascii.Error, ValueError):
        return invalid(f"{at}.data: not valid base64")
    if not data:
        return invalid(f"{at}.data: must not be empty")
    if media_types is _IMAGE_TYPES and len(data) > MAX_IMAGE_BYTES:
        return invalid(
            f"{at}.data: the image has {len(data)} bytes, at most {MAX_IMAGE_BYTES} are allowed; scale it down."
        )
    if _media_type(data) not in media_types:
        return invalid(f"{at}.data: the content is none of {', '.join(media_types)}")
    return None


def _media_type(data: bytes) -> str:
    """The media type that the beginning of `data` tells; empty for none of those that are known here."""
    return next((media_type for media_type, magic in _MAGIC.items() if magic.match(data)), "")
