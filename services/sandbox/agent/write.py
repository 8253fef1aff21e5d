"""The tool `write`: replaces or makes a file."""

from __future__ import annotations

from .files import reason
from .inputs import REQUIRED, ToolError, checked
from .replace import store
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
    note = store(root, path, "write", data, create=True)
    return [text_block(f"wrote {len(data)} bytes to {path}{note}")]
