"""The W3C trace context of a stored message, for the copies that other systems get of it. Pure.

`trace.py` has that of the messages between our services.
"""

import re
from collections.abc import Mapping
from typing import Final

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def traceparent_of(headers: Mapping[str, str], name: str = "traceparent") -> str:
    """The context in the header of that name; empty if there is none, or one that is not valid."""
    sent = headers.get(name, "")
    found = _TRACEPARENT.fullmatch(sent)
    return sent if found and int(found[1], 16) and int(found[2], 16) else ""
