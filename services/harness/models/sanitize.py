"""JSON values made fit for the log: what cannot be encoded or replayed is taken out before it is stored. Pure."""

from typing import Any

from holdfast.bus.events import Block

_RESULT_BLOCKS = ("text", "image", "document", "search_result")


def sanitize(value: Any) -> Any:
    """The same JSON value without NUL characters and lone surrogates, keys included."""
    match value:
        case str():
            if "\0" in value or not value.isascii():
                value = value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
            return value
        case list():
            return [sanitize(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
        case dict():
            return {sanitize(k): sanitize(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value


def deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value is nested in more than `levels` levels: `clean` and whoever reads it later would give up."""
    level: list[Any] = [value]
    for _ in range(levels + 1):
        following: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                following.extend(one.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            elif isinstance(one, list):
                following.extend(one)  # pyright: ignore[reportUnknownArgumentType]
        if not following:
            return False
        level = following
    return True


def result_blocks(content: list[Block] | None) -> list[Block]:
    """The content of a tool result: only blocks that the model may be shown, cleaned."""
    return [sanitize(b) for b in content or [] if b.get("type") in _RESULT_BLOCKS]
