"""What a file is by its first bytes: the kinds of media that a model can see, and others by name. Pure."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

PROBE_BYTES: Final = 1024
"""Bytes from the beginning of a file that tell its kind."""

PDF: Final = "application/pdf"

_OTHERS: Final = (
    (b"BM", "a BMP image"), (b"II*\0", "a TIFF image"), (b"MM\0*", "a TIFF image"), (b"\0\0\1\0", "an icon"),
    (b"8BPS", "a Photoshop file"), (b"PK\3\4", "a ZIP archive or an office document"), (b"\x1f\x8b", "gzip data"),
    (b"\x7fELF", "a program"), (b"SQLite format 3\0", "an SQLite database"), (b"\xfd7zXZ\0", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"), (b"\xd0\xcf\x11\xe0", "an old office document"),
    (b"\xff\xfe", "UTF-16 text, which iconv can convert"), (b"\xfe\xff", "UTF-16 text, which iconv can convert"),
)  # fmt: skip
_BRANDS: Final = re.compile(rb"....ftyp(heic|heix|mif1|avif|avis|isom|mp4.|qt  )", re.DOTALL)


def media_type(head: bytes) -> str:
    """The media type of a file that begins with `head`, if it is a picture or a PDF; else empty."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    # A text may begin with these letters; the sizes behind them have a zero byte in every picture below 256 pixels,
    # and hardly any text has a control character there.
    if head[:6] in (b"GIF87a", b"GIF89a") and not head[6:13].decode("latin-1").isprintable():
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(b"%PDF-"):
        return PDF
    return ""


def description(head: bytes) -> str:
    """What a file that is neither is, in words; empty if unknown."""
    if found := _BRANDS.match(head):
        return {b"heic": "a HEIC image", b"heix": "a HEIC image", b"mif1": "a HEIF image", b"avif": "an AVIF image",
                b"avis": "an AVIF image"}.get(found.group(1), "a video")  # fmt: skip
    return next((words for magic, words in _OTHERS if head.startswith(magic)), "")
