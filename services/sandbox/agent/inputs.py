"""Checks the model's input of a tool. Errors tell the model what to change. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final


REQUIRED: Final = object()
"""Default of a field that is required."""

_KINDS: Final = {str: "a string", int: "an integer", bool: "true or false", list: "a list of two integers"}


class ToolError(Exception):
    """The call fails, and the model sees this text: it says what to change."""


def checked(tool: str, given: Any, fields: dict[str, tuple[type, object]]) -> list[Any]:
    """The values of `fields` (name to type and default) in their order. A null counts as absent. Raises ToolError."""
    if not isinstance(given, dict):
        raise ToolError(f"{tool}: the input must be an object with the fields {', '.join(fields)}")
    known: dict[str, Any] = given  # pyright: ignore[reportUnknownVariableType]
    unknown = sorted(set(known) - set(fields))
    if unknown:
        raise ToolError(f"{tool}: unknown field {unknown[0]!r}; known are {', '.join(fields)}")
    return [_one(tool, name, known.get(name), kind, default) for name, (kind, default) in fields.items()]


def _one(tool: str, name: str, value: Any, kind: type, default: object) -> Any:
    if value is None:
        if default is REQUIRED:
            raise ToolError(f"{tool}: {name} is required")
        return default
    # A boolean is an int to Python, not to the model.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ToolError(f"{tool}: {name} must be {_KINDS[kind]}")
    return value
