"""Finds an option for a path whose value is empty: what a shell makes of "$FOLDER" when FOLDER is not set. Pure.

Python takes the empty path for the current folder: `holdfast up --data ""` would keep its data in it.
"""

import inspect
from collections.abc import Callable, Sequence


def empty_path(arguments: Sequence[str], commands: Sequence[Callable[..., object]]) -> str | None:
    """The command and the option with the empty path, as in `up: --data`; None if there is none."""
    empty = {at for at, argument in enumerate(arguments) if not argument}
    named = {
        *(arguments[at - 1] for at in empty if at > 1),
        *(argument[:-1] for argument in arguments[1:] if argument.endswith("=")),
    }
    if not named:
        return None
    for command in commands:
        if arguments[0] == command.__name__:
            for option in inspect.signature(command).parameters.values():
                if "Path" in str(option.annotation) and f"--{option.name}" in named:
                    return f"{command.__name__}: --{option.name}"
    return None
