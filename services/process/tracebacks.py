"""An exception without its text, which may repeat what somebody sent. Pure."""

import traceback
from pathlib import PurePath
from typing import Any, Final, cast

MOST_FRAMES: Final = 40
"""Frames of one exception that are told; of a deeper one the first and the last of them."""

_FIRST_FRAMES: Final = 10


def places(exc: BaseException) -> list[str]:
    """Types and places of the exception and its causes: `ValueError`, then `file.py:12 function` of each frame.

    The exceptions of a group come behind the group.
    """
    found: list[str] = []
    seen: set[int] = set()
    rest = [exc]
    while rest:
        current = rest.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        found.append(type(current).__name__)
        found += _frames(current)
        cause = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
        if cause is not None:
            rest.append(cause)
        if isinstance(current, BaseExceptionGroup):
            rest += reversed(cast("BaseExceptionGroup[BaseException]", current).exceptions)
    return found


def of_exc_info(exc_info: Any) -> BaseException | None:
    """The exception that a call to a logger names: itself, or as `sys.exc_info()` returns it."""
    if isinstance(exc_info, tuple):
        exc_info = cast("tuple[Any, ...]", exc_info)[1]
    return exc_info if isinstance(exc_info, BaseException) else None


def _frames(exc: BaseException) -> list[str]:
    """The places of one exception. The lines of code are not read: that would open files."""
    told = [
        f"{PurePath(frame.f_code.co_filename).name}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(exc.__traceback__)
    ]
    if len(told) <= MOST_FRAMES:
        return told
    left_out = len(told) - MOST_FRAMES
    return [*told[:_FIRST_FRAMES], f"({left_out} frames)", *told[_FIRST_FRAMES - MOST_FRAMES :]]
