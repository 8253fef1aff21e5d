"""Decoding of stored records, and of requests, with a check of their version. Pure.

Every record is a struct with a field `v`, whose default is the version that this process writes and knows. A newer
writer raises `v` only if an older reader must not go on as if it understood the record: because a field changed its
meaning, or because the reader would write the record back without a field that must not be lost.
"""

from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from holdfast.bus.errors import Damaged, Newer

R = TypeVar("R", bound=msgspec.Struct)

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of decoding, in this order: bad JSON or wrong types, text that is no UTF-8, nesting too deep."""


class _Versioned(msgspec.Struct):
    v: int = 1


_VERSIONED: Final = msgspec.json.Decoder(_Versioned)


def decode_record(kind: type[R], raw: bytes | str) -> R:
    """The record in `raw`. Raises Newer for a version above that of `kind`, Damaged for what is no such record."""
    known = known_version(kind)
    name = f"a {kind.__name__}"
    try:
        record = _decoder(kind).decode(raw)
    except UNREADABLE as exc:
        check_version(raw, name, known)
        raise Damaged(f"not {name}") from exc
    found: int = _version_of(record)
    if found > known:
        raise Newer(name, found=found, known=known)
    return record


def check_version(raw: bytes | str, name: str, known: int) -> None:
    """Raise Newer if `raw` is a JSON object with a `v` above `known`, whatever else is in it."""
    try:
        found = _VERSIONED.decode(raw).v
    except UNREADABLE:
        return
    if found > known:
        raise Newer(name, found=found, known=known)


@cache
def known_version(kind: type[msgspec.Struct]) -> int:
    """The newest version of a kind of record that this process can read: the default of its field `v`."""
    field = next(f for f in msgspec.structs.fields(kind) if f.encode_name == "v")
    default: Any = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return int(default)


@cache
def _decoder(kind: type[msgspec.Struct]) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(kind)


def _version_of(record: Any) -> int:
    return record.v
