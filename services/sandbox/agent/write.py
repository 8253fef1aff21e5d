"""The tools `write` and `edit`."""

from __future__ import annotations

import os

from .files import open_regular, read_bounded, reason, store
from .inputs import REQUIRED, ToolError, checked
from .read import TEXT_BYTES
from .text import text_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .files import Root
    from .text import Block


def write(root: Root, given: Any) -> list[Block]:
    """Write a file, creating the folders above it. Raises ToolError."""
    path, content = checked("write", given, {"file_path": (str, REQUIRED), "content": (str, REQUIRED)})
    relative = root.inside(path, "write")
    if relative == "." or path.endswith("/"):
        raise ToolError(f"write: {path}: is a directory")
    data = content.encode("utf-8", "surrogatepass")
    try:
        root.make_parents(relative)
    except OSError as exc:
        raise ToolError(f"write: {reason(exc, path)}") from None
    store(root, path, "write", data, os.O_CREAT)
    return [text_block(f"wrote {len(data)} bytes to {path}")]


def edit(root: Root, given: Any) -> list[Block]:
    """Replace text in a file by exact match. Raises ToolError."""
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
    count = text.count(old)
    if count == 0:
        raise ToolError(f"edit: old_string not found in {path}")
    if count > 1 and not every:
        raise ToolError(f"edit: old_string appears {count} times in {path} (must be unique)")
    store(root, path, "edit", text.replace(old, new, -1 if every else 1).encode("utf-8", "surrogatepass"))
    return [text_block(f"edited {path} ({count if every else 1} replacement(s))")]


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
