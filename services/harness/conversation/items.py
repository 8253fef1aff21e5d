"""The pieces of a conversation as the context keeps them. Pure."""

from collections.abc import Iterable
from typing import Any, Final, Literal, cast

import msgspec

from holdfast.bus.events import Block

ATTACHMENT_SIZE_CHARS: Final = 6_000
"""Size that an image or a document is counted with."""


class Item(msgspec.Struct):
    """A piece of a conversation. `id` is the model request of an assistant item, or the call of a result."""

    kind: Literal["user", "assistant", "result"]
    id: str
    blocks: list[Block]
    is_error: bool = False

    @property
    def size(self) -> int:
        """The characters of all its texts, those of attachments too."""
        return _chars(self.blocks)


def _chars(value: Any) -> int:
    """The characters of the texts in a JSON value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        value = list(cast("dict[str, Any]", value).values())
    return sum(map(_chars, cast("list[Any]", value))) if isinstance(value, list) else 0


def size_of(blocks: Iterable[Block]) -> int:
    """The size of the blocks in characters; four of them are counted as one token."""
    total = 0
    for b in blocks:
        match b.get("type"):
            case "text":
                total += len(str(b.get("text") or ""))
            case "tool_use":
                total += len(str(b.get("input")))
            case "thinking" | "redacted_thinking":
                total += len(str(b.get("thinking") or b.get("data") or ""))
            case _:
                total += ATTACHMENT_SIZE_CHARS
    return total
