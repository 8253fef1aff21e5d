"""Prompt cache breakpoints in a Messages API request. Pure."""

from collections.abc import Sequence
from typing import Any, Final

CACHE_MARK: Final[dict[str, Any]] = {"cache_control": {"type": "ephemeral"}}
"""Marks the end of a cached prefix when it is added to a content block, a system text or a tool."""


def with_cache_marks(messages: Sequence[dict[str, Any]], marks: int = 2) -> list[dict[str, Any]]:
    """The messages with a breakpoint at the end of each of the last `marks` user messages.

    The API takes four breakpoints per request; two are left for system prompt and tools.
    """
    out = list(messages)
    for index in range(len(out) - 1, -1, -1):
        if not marks:
            break
        message = out[index]
        if message["role"] == "user":
            *before, last = message["content"]
            out[index] = {"role": "user", "content": [*before, {**last, **CACHE_MARK}]}
            marks -= 1
    return out
