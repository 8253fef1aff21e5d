"""From the bytes of a body and from a query string to checked values. Errors are ApiError 400 with the field. Pure."""

import re
from typing import Any, Final, cast

import msgspec
from msgspec import inspect

from holdfast.session.http import timestamps
from holdfast.session.http.errors import invalid

MAX_NESTING_LEVELS: Final = 100
"""Deepest nesting of a body: far above any real body, far below what the interpreter's stack takes."""

_IGNORED_QUERY: Final = frozenset({"beta"})
"""Parameters that older SDKs send with every request; they mean nothing here."""

_FIELD_PATH: Final = re.compile(r" - at `\$\.?(.*)`$")


def read_json(raw: bytes, kind: Any) -> Any:
    """Decode a body into `kind`. Raises ApiError 400 for malformed JSON, a wrong shape, NUL, or too deep nesting."""
    try:
        if raw.count(b"[") + raw.count(b"{") > MAX_NESTING_LEVELS or b"\\u0000" in raw:
            _check_text_and_nesting(msgspec.json.decode(raw))
        return msgspec.json.decode(raw, type=kind, dec_hook=timestamps.decode)
    except msgspec.ValidationError as exc:
        raise invalid(_message(exc)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise invalid("the request body is not valid JSON in UTF-8") from None
    except RecursionError:
        raise invalid(f"the request body is nested more than {MAX_NESTING_LEVELS} levels deep") from None


def read_query(pairs: list[tuple[str, str]], kind: type[msgspec.Struct]) -> Any:
    """Read a query string into `kind`. Raises ApiError 400 for unknown names, wrong values and repeated scalars."""
    lists = _list_fields(kind)
    found: dict[str, Any] = {}
    for raw_name, value in pairs:
        name = raw_name.removesuffix("[]")
        if "\0" in value:
            raise invalid(f"{name}: must not contain NUL")
        if name in lists:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise invalid(f"{name}: given more than once")
        elif raw_name not in _IGNORED_QUERY:
            found[raw_name] = value
    try:
        return msgspec.convert(found, kind, strict=False, dec_hook=timestamps.decode)
    except msgspec.ValidationError as exc:
        raise invalid(_message(exc)) from None


def _list_fields(kind: type[msgspec.Struct]) -> set[str]:
    """Names of the parameters of a query that may be repeated."""
    known = _LIST_FIELDS.get(kind)
    if known is None:
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        known = _LIST_FIELDS[kind] = {f.encode_name for f in info.fields if _is_list(f.type)}
    return known


_LIST_FIELDS: dict[type[msgspec.Struct], set[str]] = {}
"""Results of `_list_fields`, by type of query."""


def _is_list(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.UnionType):
        return any(_is_list(one) for one in kind.types)
    return isinstance(kind, inspect.ListType | inspect.VarTupleType)


def _check_text_and_nesting(value: Any) -> None:
    """Raise ApiError 400 for NUL in any text, which stores, models and terminals refuse, and for too deep nesting."""
    level = [value]
    for _ in range(MAX_NESTING_LEVELS):
        following: list[Any] = []
        for one in level:
            match one:
                case str():
                    if "\0" in one:
                        raise invalid("the request body contains the character NUL, which no text may contain")
                case dict():
                    following += cast("dict[str, Any]", one).keys()
                    following += cast("dict[str, Any]", one).values()
                case list():
                    following += cast("list[Any]", one)
                case _:
                    pass
        if not following:
            return
        level = following
    raise invalid(f"the request body is nested more than {MAX_NESTING_LEVELS} levels deep")


def _message(exc: msgspec.ValidationError) -> str:
    """The message of msgspec with the field in front: `name: Expected `str`, got `int``."""
    text = str(exc)
    path = _FIELD_PATH.search(text)
    if not path:
        return text
    return f"{path[1]}: {text[: path.start()]}" if path[1] else text[: path.start()]
