"""The registry of file tools: functions of the workspace and the model's input that return blocks or raise ToolError.

`bash` is not among them: it has state, and `loop.py` runs it by `shell.py`.
"""

from __future__ import annotations

from .edit import edit
from .glob import glob
from .grep import grep
from .read import read
from .write import write

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
