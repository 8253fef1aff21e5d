"""Removes from JSON values what the log could not encode or a later request could not replay. Pure."""

from typing import Any

from holdfast.bus.events import Block
from holdfast.harness.models.json_objects import whole_characters

_RESULT_BLOCKS = ("text", "image", "document", "search_result")


def sanitize(value: Any) -> Any:
    """The same JSON value without NUL characters and lone surrogates, keys included."""
    match value:
        case str():
            if "\0" in value or not value.isascii():
                value = whole_characters(value.replace("\0", ""))
            return value
        case list():
            return [sanitize(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
        case dict():
            return {sanitize(k): sanitize(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value


def is_deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value has more than `levels` levels; `sanitize` and JSON decoders recurse, so they would fail."""
    level: list[Any] = [value]
    for _ in range(levels + 1):
        children: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                children.extend(node.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            elif isinstance(node, list):
                children.extend(node)  # pyright: ignore[reportUnknownArgumentType]
        if not children:
            return False
        level = children
    return True


def has_more_values(value: Any, limit: int) -> bool:
    """Whether a JSON value has more than `limit` values in it. Stops once they are counted."""
    count, rest = 1, [value]
    while rest and count <= limit:
        node = rest.pop()
        children: Any = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        count += len(children)
        rest.extend(children)
    return count > limit


def result_blocks(content: list[Block] | None) -> list[Block]:
    """The content of a tool result, sanitized and without blocks of types that a tool result must not have."""
    return [sanitize(b) for b in content or [] if b.get("type") in _RESULT_BLOCKS]
