"""The tool `edit`: replaces text in a file."""

from __future__ import annotations

import os

from .files import open_regular, read_bounded, reason
from .inputs import REQUIRED, ToolError, checked
from .matching import line_of, places
from .miss import hint
from .read import TEXT_BYTES
from .replace import store
from .text import text_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

    from .files import Root
    from .matching import Place
    from .text import Block

SHOWN_LINES: Final = 10
"""Most lines of occurrences that an error names."""


def edit(root: Root, given: Any) -> list[Block]:
    """Replace text in a file. What `read` shows is found, and line ends stay as they are. Raises ToolError."""
    path, old, new, every = checked(
        "edit",
        given,
        {
            "file_path": (str, REQUIRED),
            "old_string": (str, REQUIRED),
            "new_string": (str, REQUIRED),
            "replace_all": (bool, False),
        },
    )
    if not old:
        raise ToolError("edit: old_string must not be empty; use write to create a file")
    text = _text(root, path)
    found = places(text, old, new)
    if not found:
        raise ToolError(f"edit: old_string not found in {path}. {hint(text, old, new)}")
    if len(found) > 1 and not every:
        lines = [str(line_of(text, place.start)) for place in found[:SHOWN_LINES]]
        more = ", ..." if len(found) > SHOWN_LINES else ""
        raise ToolError(
            f"edit: old_string appears {len(found)} times in {path} (must be unique): lines {', '.join(lines)}{more}"
        )
    note = store(root, path, "edit", _with(text, found).encode("utf-8", "surrogatepass"))
    return [text_block(f"edited {path} ({len(found)} replacement(s)){note}")]


def _with(text: str, found: Sequence[Place]) -> str:
    parts: list[str] = []
    at = 0
    for place in found:
        parts += text[at : place.start], place.new
        at = place.end
    return "".join([*parts, text[at:]])


def _text(root: Root, path: str) -> str:
    fd = open_regular(root, path, "edit")
    try:
        data = read_bounded(fd, TEXT_BYTES)
        if len(data) > TEXT_BYTES:
            raise ToolError(
                f"edit: {path} is {os.fstat(fd).st_size} bytes, exceeds {TEXT_BYTES}-byte limit. "
                "The edit tool loads the whole file and cannot modify a file this large."
            )
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ToolError(f"edit: {path}: not valid UTF-8 text (cannot edit binary files)") from None
    except OSError as exc:
        raise ToolError(f"edit: {reason(exc, path)}") from None
    finally:
        os.close(fd)
