"""An exception without its text, which may repeat what somebody sent. Pure."""

import traceback
from pathlib import PurePath


def places(exc: BaseException) -> list[str]:
    """Types and places of the exception and its causes: `ValueError`, then `file.py:12 function` of each frame."""
    found: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        found.append(type(current).__name__)
        frames = traceback.extract_tb(current.__traceback__)
        found += [f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return found
