"""What every event has. Pure."""

from typing import Any

import msgspec
from msgspec import field

Block = dict[str, Any]
"""A content block as the Messages API spells it: text, image, document, search_result."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """An event of a session. `thread` is empty for the primary thread."""

    id: str
    thread: str = field(name="_thread", default="")


def type_of(event: Event) -> str:
    """The wire type of an event, such as `agent.message`."""
    return str(event.__struct_config__.tag)


def is_shown(event: Event) -> bool:
    """True if clients may see this event."""
    return not type_of(event).startswith("holdfast.")
