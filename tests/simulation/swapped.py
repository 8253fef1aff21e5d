"""Replacing parts of the real code for a while."""

import contextlib
from collections.abc import Generator
from typing import Any

Applied = contextlib.AbstractContextManager[None]
"""The code is changed inside the block."""


@contextlib.contextmanager
def swapped(*changes: tuple[Any, str, Any]) -> Generator[None]:
    """Replace attributes for a while."""
    before = [(place, name, getattr(place, name)) for place, name, _ in changes]
    for place, name, value in changes:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)
