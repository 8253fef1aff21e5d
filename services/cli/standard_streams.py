"""Standard streams that are closed, full, or lack characters: no command ends with a traceback for them."""

import contextlib
import os
import sys
from io import TextIOWrapper
from typing import Final

_NAMES: Final = ("stdin", "stdout", "stderr")
"""By number of the descriptor."""


def prepare() -> None:
    """Call it before anything is opened: what was closed by the caller (`>&-`) becomes /dev/null.

    Without that, the next file or connection would be the standard output. A character that the encoding lacks is
    replaced.
    """
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None:
            _to_null(number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
        stream = getattr(sys, name)
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def lost() -> bool:
    """Whether output cannot be written any more, as on a full disk. Then what is left of it is dropped."""
    found = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                _to_null(stream.fileno())  # for the flush at the end of Python
            found = True
    return found


def _to_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    os.set_inheritable(number, True)
