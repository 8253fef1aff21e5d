"""The model's input of a tool, checked: what is wrong with it is said so that the model can put it right."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final


REQUIRED: Final = object()
"""The default of a field that must be there."""

_KINDS: Final = {str: "a string", int: "an integer", bool: "true or false", list: "a list of two integers"}


class ToolError(Exception):
    """The tool says no; the text tells the model what to change."""


def checked(tool: str, given: Any, fields: dict[str, tuple[type, object]]) -> list[Any]:
    """The values of `fields` (name to kind and default) in their order. A field that is null counts as left out.

    Raises ToolError.
    """
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
