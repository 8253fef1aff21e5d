"""From the bytes of a body and from a query string to checked values. Errors are ApiError 400 with the field. Pure."""

import re
from typing import Any, Final

import msgspec
from msgspec import inspect

from holdfast.session.http import timestamps
from holdfast.session.http.errors import ApiError, invalid

MAX_NESTING_LEVELS: Final = 100
"""Deepest nesting of a body: far above any real body, far below what the interpreter's stack takes."""

MAX_VALUES: Final = 2_000_000
"""Most values of a body, names of fields included: 100 events of 1,000 content blocks each, all of them documents with
a title, a context and citations, have fewer. The decoder holds up all other requests meanwhile, also in a thread."""

_IGNORED_QUERY: Final = frozenset({"beta"})
"""Parameters that older SDKs send with every request; they mean nothing here."""

_BACKSLASH: Final = rb"\\"
"""The escape of a backslash. Without these every other escape begins with the only backslash before it."""

_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")

_FIELD_PATH: Final = re.compile(r" - at `\$\.?(.*)`$")


def read_json(raw: bytes, kind: Any) -> Any:
    """Decode a body into `kind`. Raises ApiError 400 for malformed JSON, a wrong shape, NUL, or too deep nesting."""
    try:
        if rb"\u0000" in raw and rb"\u0000" in raw.replace(_BACKSLASH, b""):
            raise invalid("the request body contains the character NUL, which no text may contain")
        nested = raw.count(b"[") + raw.count(b"{")
        if nested > MAX_NESTING_LEVELS or nested + raw.count(b",") + raw.count(b":") > MAX_VALUES:
            _check_structure(raw)
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


def _check_structure(raw: bytes) -> None:
    """Raise ApiError 400 for a body of too many values, RecursionError for one that is nested too deep.

    Each step runs over the bytes at the speed of C: a walk over the decoded values takes seconds for 25 MiB of small
    ones. What is not JSON is left to the decoder, so nothing here needs to be right for it.
    """
    without_escapes = raw.replace(_BACKSLASH, b"").replace(rb"\"", b"")
    if without_escapes.count(b'"') > 2 * MAX_VALUES:  # a text is a value or a name
        raise _too_many_values()
    structure = b"".join(without_escapes.split(b'"')[::2])
    brackets = structure.translate(None, _NO_BRACKETS)
    # Each name and each value follows a comma, a colon or an opening bracket.
    separators = structure.count(b",") + structure.count(b":")
    if separators + brackets.count(b"[") + brackets.count(b"{") > MAX_VALUES:
        raise _too_many_values()
    for _ in range(MAX_NESTING_LEVELS):
        size = len(brackets)
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) == size:
            return
    if brackets:
        raise RecursionError


def _too_many_values() -> ApiError:
    return invalid(f"the request body has more than {MAX_VALUES} values")


def _message(exc: msgspec.ValidationError) -> str:
    """The message of msgspec with the field in front: `name: Expected `str`, got `int``."""
    text = str(exc)
    path = _FIELD_PATH.search(text)
    if not path:
        return text
    return f"{path[1]}: {text[: path.start()]}" if path[1] else text[: path.start()]
