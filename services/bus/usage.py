"""The `usage` object of a session on the wire, made from its head. Pure."""

from typing import Any

from holdfast.bus.head import Head
from holdfast.bus.times import SECOND_US


def usage_object(head: Head, now: int) -> dict[str, Any]:
    """Tokens of all model requests, and the seconds running up to `now` (microseconds, Unix).

    `cache_creation` is null as long as no cache entry was created: the breakdown by lifetime is optional on the wire.
    """
    used = head.usage
    created = used.cache_creation_input_tokens
    return {
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "cache_read_input_tokens": used.cache_read_input_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": created, "ephemeral_1h_input_tokens": 0} if created else None,
        "active_seconds": active_seconds(head, now),
    }


def active_seconds(head: Head, now: int) -> float:
    """Seconds during which any thread was running, the present run up to `now` (microseconds, Unix) included."""
    present = max(now - head.running_since, 0) if head.running_since else 0
    return round((head.active + present) / SECOND_US, 3)
