"""A task event as it was understood, whatever form it came in. Pure."""

from typing import Any

import msgspec


class TaskEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`data` is decoded JSON, or a text; it holds neither NUL nor half surrogates."""

    data: Any
    attributes: dict[str, str] = {}
    """Context beside the data: the attributes of a CloudEvent, as text."""
    name: str = ""
    """What makes another publish the same task (`task_ids.task_id`); empty if the publisher named nothing."""
