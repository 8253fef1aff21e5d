"""The tool `read`: a text file as text; an image or PDF, which its content tells, as a media block."""

from __future__ import annotations

import os
import sys

from .files import open_regular, read_bounded, reason
from .inputs import REQUIRED, ToolError, checked
from .media import PDF, PROBE_BYTES, description, media_type
from .text import text_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from .files import Root
    from .text import Block

TEXT_BYTES: Final = 256 * 1024
"""Most text of one result; also the largest file for `edit`."""

IMAGE_BYTES: Final = 5 * 1024 * 1024 // 4 * 3
"""Largest image: the Messages API accepts 5 MiB of base64."""

PDF_BYTES: Final = 20 * 1024 * 1024
"""Largest PDF."""


def read(root: Root, given: Any) -> list[Block]:
    """Read a file of the workspace. Raises ToolError."""
    path, view = checked("read", given, {"file_path": (str, REQUIRED), "view_range": (list, None)})
    if view and (len(view) != 2 or any(not isinstance(n, int) or isinstance(n, bool) for n in view)):
        raise ToolError("read: view_range must be [start_line, end_line]")
    fd = open_regular(root, path, "read")
    try:
        size = os.fstat(fd).st_size
        head = os.pread(fd, PROBE_BYTES, 0)
        media = media_type(head)
        if media and view:
            raise ToolError("read: view_range is not supported for image/PDF files")
        if media:
            return [_media(fd, path, size, media)]
        if size > TEXT_BYTES and not view:
            raise ToolError(
                f"read: {path} is {size} bytes, exceeds {TEXT_BYTES}-byte limit. "
                "Use the view_range parameter to read specific line ranges, e.g. view_range: [1, 500]."
            )
        data = _lines(fd, path, view[0], view[1]) if view else read_bounded(fd, TEXT_BYTES)
        shown = decoded(data, path, head)
    except OSError as exc:
        raise ToolError(f"read: {reason(exc, path)}") from None
    finally:
        os.close(fd)
    return [text_block(shown or ("(no such lines)" if view else "(the file is empty)"))]


def decoded(data: bytes, path: str, head: bytes) -> str:
    """`data` as text. Raises ToolError if it is not UTF-8. `head`: the beginning of the file."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        what = description(head)
        raise ToolError(
            f"read: {path}: not valid UTF-8 text{f'; it is {what}' if what else ''} "
            "(shown as such are only PNG, JPEG, GIF and WebP images and PDF files, whatever their name)"
        ) from None


def _lines(fd: int, path: str, first: int, last: int) -> bytes:
    """Lines `first` to `last`, counted from 1, without the last line end. `last` below 1: up to the end of the file."""
    start, end = max(0, first - 1), last if last > 0 else sys.maxsize
    picked, line = bytearray(), 0
    while line < end:
        part = os.read(fd, 1 << 16)
        pieces = part.split(b"\n")
        for index, piece in enumerate(pieces):
            ended = index < len(pieces) - 1
            if start <= line < end:
                picked += piece
                if ended and line + 1 < end:
                    picked += b"\n"
                if len(picked) > TEXT_BYTES:
                    raise _too_much(path, first, last, one=end - start == 1)
            line += ended
        if not part:
            break
    return bytes(picked)


def _too_much(path: str, first: int, last: int, *, one: bool) -> ToolError:
    if one:
        return ToolError(
            f"read: line {first} of {path} alone exceeds {TEXT_BYTES}-byte limit. "
            "The read tool cannot return part of a line, so view_range cannot narrow this further."
        )
    return ToolError(
        f"read: view_range [{first}, {last}] of {path} exceeds {TEXT_BYTES}-byte limit. "
        "Narrow the view_range to read a smaller portion."
    )


def _media(fd: int, path: str, size: int, media: str) -> Block:
    import base64  # noqa: PLC0415  few calls need it, and only in helpers

    limit = PDF_BYTES if media == PDF else IMAGE_BYTES
    data = read_bounded(fd, limit)
    if len(data) > limit:
        raise ToolError(f"read: {path} is {size} bytes, exceeds {limit}-byte limit for image/PDF files.")
    kind = "document" if media == PDF else "image"
    encoded = base64.standard_b64encode(data).decode("ascii")
    return {"type": kind, "source": {"type": "base64", "media_type": media, "data": encoded}}
