"""The input schemas of custom tools: the rules of the Messages API for them. Pure."""

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from holdfast.session.http.errors import invalid

_PROPERTY: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Names that the Messages API takes for the top-level properties of an input schema."""

_NAMED_SCHEMAS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_PLAIN_VALUES: Final = frozenset({"enum", "const", "default", "examples"})


def check_input_schema(schema: dict[str, Any], at: str) -> None:
    """Raise ApiError 400, naming the field after `at`, for a schema that the Messages API would refuse."""
    if schema.get("type") != "object":
        raise invalid(f"{at}.type: must be object")
    for word in ("oneOf", "anyOf", "allOf"):
        if word in schema:
            raise invalid(f"{at}: {word} is not allowed at the top level")
    properties, required = schema.get("properties"), schema.get("required")
    if properties is not None:
        _check_properties(properties, f"{at}.properties")
    if required is not None and not _is_list_of_text(required):
        raise invalid(f"{at}.required: must be a list of different names")
    if any("$ref" in part for part in _schemas(schema)):
        raise invalid(f"{at}: $ref is not allowed")


def _check_properties(properties: Any, at: str) -> None:
    if not isinstance(properties, dict):
        raise invalid(f"{at}: must be an object")
    for name, schema in cast("dict[str, Any]", properties).items():
        if not _PROPERTY.fullmatch(name):
            raise invalid(f"{at}: property names have 1 to 64 letters, digits, underscores, dots or hyphens")
        if not isinstance(schema, dict | bool):
            raise invalid(f"{at}.{name}: must be a schema")


def _is_list_of_text(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    items = cast("list[Any]", value)
    return all(isinstance(item, str) for item in items) and len(set(items)) == len(items)


def _schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """`schema` and every schema in it. Names of properties and plain values are not taken for schemas."""
    if isinstance(schema, list):
        for part in cast("list[Any]", schema):
            yield from _schemas(part)
    if not isinstance(schema, dict):
        return
    words = cast("dict[str, Any]", schema)
    yield words
    for word, value in words.items():
        if word in _NAMED_SCHEMAS and isinstance(value, dict):
            yield from _schemas(list(cast("dict[str, Any]", value).values()))
        elif word not in _PLAIN_VALUES:
            yield from _schemas(value)
