"""From bytes and query strings to checked values. Whatever is wrong ends in a Problem that names the place."""

import re
from typing import Any, Final, cast

import msgspec
from msgspec import inspect

from holdfast.session.http import timestamps
from holdfast.session.http.errors import invalid

MAX_DEPTH: Final = 100
"""Levels of nesting in a body; far above any real one, far below what the interpreter's stack takes."""

_IGNORED_QUERY: Final = frozenset({"beta"})
"""Sent by older SDKs, without a meaning here."""

_PLACE: Final = re.compile(r" - at `\$\.?(.*)`$")


def read_json(raw: bytes, kind: Any) -> Any:
    """Decode a body into `kind`. Raises Problem 400 for malformed JSON, a wrong shape, NUL, or too deep nesting."""
    try:
        if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH or b"\\u0000" in raw:
            _inspect(msgspec.json.decode(raw))
        return msgspec.json.decode(raw, type=kind, dec_hook=timestamps.decode)
    except msgspec.ValidationError as exc:
        raise invalid(_sentence(exc)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise invalid("the request body is not valid JSON in UTF-8") from None
    except RecursionError:
        raise invalid(f"the request body is nested more than {MAX_DEPTH} levels deep") from None


def read_query(pairs: list[tuple[str, str]], kind: type[msgspec.Struct]) -> Any:
    """Read a query string into `kind`. Raises Problem 400 for unknown names, wrong values and repeated scalars."""
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
        raise invalid(_sentence(exc)) from None


def _list_fields(kind: type[msgspec.Struct]) -> set[str]:
    known = _LISTS.get(kind)
    if known is None:
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        known = _LISTS[kind] = {f.encode_name for f in info.fields if _is_list(f.type)}
    return known


_LISTS: dict[type[msgspec.Struct], set[str]] = {}


def _is_list(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.UnionType):
        return any(_is_list(one) for one in kind.types)
    return isinstance(kind, inspect.ListType | inspect.VarTupleType)


def _inspect(value: Any) -> None:
    """Refuse what no store, model or terminal takes: NUL in any text, and nesting that nothing real has."""
    level = [value]
    for _ in range(MAX_DEPTH):
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
    raise invalid(f"the request body is nested more than {MAX_DEPTH} levels deep")


def _sentence(exc: msgspec.ValidationError) -> str:
    """`name: Expected `str`, got `int`` instead of msgspec's order."""
    text = str(exc)
    place = _PLACE.search(text)
    if not place:
        return text
    return f"{place[1]}: {text[: place.start()]}" if place[1] else text[: place.start()]
