"""Times in requests and answers: RFC 3339 on the wire, microseconds since 1970 in here. Pure."""

from typing import Annotated, Any

from msgspec import Meta

from holdfast.bus.times import parse_time, time_text

TimeText = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A time in an answer, as `text` writes it."""


class Instant(int):
    """A time in a query, in microseconds; a type of its own, so that msgspec decodes it from RFC 3339."""


def text(at: int) -> str:
    """`at` in RFC 3339, as answers have it."""
    return time_text(at)


def text_or_none(at: int | None) -> str | None:
    return None if at is None else text(at)


def parse(value: str) -> Instant:
    """Read RFC 3339, or a bare date; without an offset it is UTC. Raises ValueError."""
    return Instant(parse_time(value))


def decode(kind: type, value: Any) -> Any:
    """Decoding hook of msgspec for `Instant`."""
    if kind is Instant and isinstance(value, str):
        return parse(value)
    raise NotImplementedError(f"cannot read {kind}")
