"""The tools that work on files: each gets the workspace and the model's input, and returns blocks or raises ToolError.

`bash` is not among them: it has a state and lives in the loop.
"""

from __future__ import annotations

from .glob import glob
from .grep import grep
from .read import read
from .write import edit, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .files import Root
    from .text import Block

FILE_TOOLS: dict[str, Callable[[Root, Any], list[Block]]] = {
    "read": read,
    "write": write,
    "edit": edit,
    "glob": glob,
    "grep": grep,
}
"""One line per tool."""
