"""Whether an earlier sandbox of this workspace had a shell, whose state is gone without a word to the model.

A sandbox that ends during a call fails that call, and the error says what is lost. One that ends between two calls, for
example because it was idle, fails nothing.
"""

from __future__ import annotations

import contextlib
import os

from .files import HIDDEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .files import Root

NEW_SANDBOX: Final = (
    "[this is a new sandbox: the shell of the last one with its folder, variables and functions, all processes and "
    "/tmp are gone; the files of /workspace are kept]"
)

_MARK: Final = f"{HIDDEN}/shell"
"""A file that the first command of a workspace leaves."""


def earlier_shell(root: Root) -> bool:
    """Whether an earlier sandbox has run a command in this workspace. Leaves a mark for the next one."""
    try:
        os.close(root.open(_MARK, os.O_PATH))
    except FileNotFoundError:
        _leave_mark(root)
        return False
    except OSError:
        return False
    return True


def _leave_mark(root: Root) -> None:
    with contextlib.suppress(OSError):  # the workspace is full: the next sandbox says nothing
        root.make_parents(_MARK)
        os.close(root.open(_MARK, os.O_WRONLY | os.O_CREAT))
