"""Times are integers: microseconds since 1970, UTC. On the wire they are RFC 3339 with six digits and `Z`. Pure."""

import re
from datetime import datetime, timedelta
from typing import Final

MILLISECOND_US: Final = 1_000
SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US

CLAIM_STALE_US: Final = 15 * MINUTE_US
"""A claim whose session has not moved for this long is stale: a harness may take it over, the sweeper nudges it."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  naive throughout, so that no conversion touches the local zone
_SHAPE: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?)?")


def time_text(at: int) -> str:
    """Microseconds since 1970 as RFC 3339."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds") + "Z"


def parse_time(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time or a bare date; without an offset it is UTC. Raises ValueError."""
    if not _SHAPE.fullmatch(text):
        raise ValueError("expected an RFC 3339 time such as 2026-11-21T09:30:00Z")
    stamp = datetime.fromisoformat(text.upper())
    offset = stamp.utcoffset() or timedelta()
    return (stamp.replace(tzinfo=None) - _EPOCH - offset) // timedelta(microseconds=1)
