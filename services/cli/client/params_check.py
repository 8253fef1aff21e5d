"""Checks parameters that a person wrote against the types of the SDK. Pure.

The API checks values. The SDK refuses a misspelt name with a TypeError; this check also suggests the right name.
"""

import types
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,
    Required,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

_SCALARS: Final[dict[Any, str]] = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
_WRAPPERS: Final = (Required, NotRequired, Annotated)


def problem(value: Any, kind: Any, path: str = "", *, without: Iterable[str] = ()) -> str | None:
    """A sentence on why `value` does not fit `kind`, a TypedDict or another type hint of the SDK; None if it fits.

    `without` are fields of the outermost TypedDict that cannot be given.
    """
    return next(_problems(value, kind, path, frozenset(without)), None)


def _problems(value: Any, kind: Any, path: str, without: frozenset[str] = frozenset()) -> Iterator[str]:
    kind = _plain(kind)
    origin = get_origin(kind)
    if _is_object(kind):
        yield from _object(value, kind, path, without)
    elif origin in (Union, types.UnionType):
        yield from _union(value, [_plain(choice) for choice in get_args(kind)], path)
    elif origin is Literal:
        if value not in get_args(kind):
            yield f"{path}: {_shown(value)} is not {_or([_shown(choice) for choice in get_args(kind)])}"
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from _mapping(value, kind, path)
    elif isinstance(origin, type) and issubclass(origin, Iterable):
        yield from _list(value, kind, path)
    elif kind in _SCALARS and not _is_scalar(value, kind):
        yield f"{path}: must be {_SCALARS[kind]}, not {_shown(value)}"


def _plain(kind: Any) -> Any:
    while get_origin(kind) in _WRAPPERS:
        kind = get_args(kind)[0]
    return kind


def _is_object(kind: Any) -> bool:
    """Whether it is a TypedDict, of `typing` or of `typing_extensions`, which the SDK uses."""
    return isinstance(kind, type) and issubclass(cast("type[object]", kind), dict) and hasattr(kind, "__total__")


def _is_scalar(value: Any, kind: Any) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, (int, float) if kind is float else kind)


def _object(value: Any, kind: Any, path: str, without: frozenset[str]) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path or 'it'}: must hold fields (name: value), not {_shown(value)}"
        return
    hints = {name: hint for name, hint in get_type_hints(kind, include_extras=True).items() if name not in without}
    given = cast("dict[Any, Any]", value)
    for name, field in given.items():
        at = f"{path}.{name}" if path else str(name)
        if name in hints:
            yield from _problems(field, hints[name], at)
        else:
            near = get_close_matches(str(name), hints, n=1)
            yield f"{at}: there is no such field; " + (
                f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(hints))}"
            )
    for name, hint in hints.items():
        if get_origin(hint) is Required and name not in given:
            yield f"{path}: the field {name!r} is missing" if path else f"the field {name!r} is missing"


def _union(value: Any, choices: list[Any], path: str) -> Iterator[str]:
    if value is None and type(None) in choices:
        return
    objects = [choice for choice in choices if _is_object(choice)]
    if isinstance(value, dict) and objects:
        yield from _tagged(cast("dict[Any, Any]", value), objects, path)
        return
    found = [problem(value, choice, path) for choice in choices if choice is not type(None)]
    if None not in found:
        yield min(map(str, found), key=len)


def _tagged(value: dict[Any, Any], choices: list[Any], path: str) -> Iterator[str]:
    """An object that must be one of several kinds, told apart by a field (`type` or `name`) with one value each."""
    for field in ("type", "name"):
        tags = [_values(choice, field) for choice in choices]
        if len(choices) == 1 or not all(tags):
            continue
        known = [str(tag) for names in tags for tag in names]
        if field not in value:
            if all(_is_required(choice, field) for choice in choices):
                yield f"{path}: the field {field!r} is missing: {_or(known)}"
                return
            continue
        if value[field] not in known:
            near = get_close_matches(str(value[field]), known, n=1)
            yield f"{path}.{field}: there is no {_shown(value[field])}; " + (
                f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            )
            return
        choices = [choice for choice, names in zip(choices, tags, strict=True) if value[field] in names]
    found = [problem(value, choice, path) for choice in choices]
    if None not in found:
        yield str(found[0])


def _values(kind: Any, field: str) -> tuple[Any, ...]:
    """The values that a field of a TypedDict may have; empty when it is no choice of fixed ones."""
    hint = _plain(get_type_hints(kind, include_extras=True).get(field))
    return get_args(hint) if get_origin(hint) is Literal else ()


def _is_required(kind: Any, field: str) -> bool:
    return get_origin(get_type_hints(kind, include_extras=True).get(field)) is Required


def _mapping(value: Any, kind: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: must hold fields (name: value), not {_shown(value)}"
        return
    arguments = get_args(kind)
    for name, field in cast("dict[Any, Any]", value).items():
        yield from _problems(field, arguments[1] if len(arguments) == 2 else Any, f"{path}.{name}")


def _list(value: Any, kind: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: must be a list, not {_shown(value)}"
        return
    for number, item in enumerate(cast("list[Any]", value)):
        yield from _problems(item, get_args(kind)[0], f"{path}[{number}]")


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            text = str(value)
            return repr(text if len(text) <= 40 else text[:39] + "…") if isinstance(value, str) else text


def _or(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
