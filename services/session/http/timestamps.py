"""Times are integers: microseconds since 1970, UTC. On the wire they are RFC 3339 with six digits and `Z`. Pure."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from msgspec import Meta

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  naive throughout, so that no conversion touches the local zone
_SHAPE: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?)?")


TimeText = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A time in an answer, as `text` writes it."""


class Instant(int):
    """A time given by a caller, in microseconds; its own type so that query strings are read as RFC 3339."""


def text(at: int) -> str:
    """`at` as the wire spells it."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds") + "Z"


def text_or_none(at: int | None) -> str | None:
    return None if at is None else text(at)


def parse(value: str) -> Instant:
    """Read RFC 3339, or a bare date; without an offset it is UTC. Raises ValueError."""
    if not _SHAPE.fullmatch(value):
        raise ValueError("expected an RFC 3339 time such as 2026-11-21T09:30:00Z")
    stamp = datetime.fromisoformat(value.upper())
    offset = stamp.utcoffset() or timedelta()
    return Instant((stamp.replace(tzinfo=None) - _EPOCH - offset) // timedelta(microseconds=1))


def decode(kind: type, value: Any) -> Any:
    """Decoding hook of msgspec for `Instant`."""
    if kind is Instant and isinstance(value, str):
        return parse(value)
    raise NotImplementedError(f"cannot read {kind}")
