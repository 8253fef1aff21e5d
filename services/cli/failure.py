"""Reports the failure of a command on standard error: `holdfast run: cause`, then what the user can do."""

import shutil
import sys
import textwrap
from typing import Final

MIN_COLUMNS: Final = 20
"""Text is never wrapped to fewer columns."""


def tell(command: str, text: str) -> None:
    """Print the failure of `holdfast <command>`. On a terminal its first line is broken between words only.

    The other lines are printed as they are: they may be commands to paste.
    """
    first, *rest = f"holdfast {command}: {text}".split("\n")
    shown = [first]
    if sys.stderr.isatty():
        columns = max(shutil.get_terminal_size().columns - 1, MIN_COLUMNS)
        shown = textwrap.wrap(first, columns, break_long_words=False, break_on_hyphens=False)
    print("\n".join([*shown, *rest]), file=sys.stderr, flush=True)
