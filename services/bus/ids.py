"""Identifiers: opaque, one subject token each, sorted by time of creation.

The prefixes are those of the Managed Agents API (people's code and logs rely on them). A session id also carries its
cell, so every process knows the streams of a session without a lookup: `sesn_<cell>_<time-sorted part>`.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec
from uuid_utils import uuid7

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 in lower case: keeps the order of the number, has no look-alikes."""

_PAIRS: Final = [a + b for a in _ALPHABET for b in _ALPHABET]
"""Two digits at once, by their ten bits: an id is made several times in each request."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")

_CELL: Final = re.compile(r"[a-z0-9]{1,8}")

FIRST_CELL: Final = "a0"

NewId = Callable[[str], str]
"""Makes a fresh id from a prefix, as `new_id` does. Pure functions take one as their argument `new_id: NewId`."""


class Key(msgspec.Struct, frozen=True):
    """Which session: the tenant it belongs to and its id. Both are single subject tokens."""

    tenant: str
    session: str

    @property
    def cell(self) -> str:
        """The cell whose streams hold this session."""
        return cell_of(self.session)


def new_id(prefix: str) -> str:
    """A fresh id such as `sevt_01k…`: the prefix without its underscore, then 26 characters that sort by time."""
    return id_of(prefix, uuid7().int)


def id_of(prefix: str, number: int) -> str:
    """The id of a number below 2^130: the same one each time. `time_of` reads its upper bits as the time."""
    return f"{prefix}_" + "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def is_cell(text: str) -> bool:
    """Whether `text` may name a cell: one to eight lower-case letters and digits."""
    return _CELL.fullmatch(text) is not None


def new_session_id(cell: str = FIRST_CELL) -> str:
    """A fresh session id in `cell`. Raises ValueError if that is no name of a cell."""
    if not is_cell(cell):
        raise ValueError(f"not the name of a cell: {cell[:40]!r} (one to eight lower-case letters and digits)")
    return new_id(f"sesn_{cell}")


@lru_cache(maxsize=16_384)  # several times in each request and for each commit
def cell_of(session_id: str) -> str:
    """The cell named in a session id; empty when the id is not one of ours."""
    parts = session_id.split("_")
    return parts[1] if len(parts) == 3 and parts[0] == "sesn" and is_cell(parts[1]) else ""


def time_of(made: str) -> int | None:
    """When an id was made, in microseconds since 1970 with the precision of a millisecond; None if it is not ours."""
    last = made.rpartition("_")[2]
    if len(last) != 26 or not set(last) <= set(_ALPHABET):
        return None
    number = 0
    for digit in last:
        number = number << 5 | _ALPHABET.index(digit)
    return (number >> 80) * 1000


def is_token(text: str) -> bool:
    """Whether `text` may stand as one token of a subject or as a key: letters, digits, `_` and `-`, at most 128."""
    return _TOKEN.fullmatch(text) is not None
