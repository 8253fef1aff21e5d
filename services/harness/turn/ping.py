"""The name of a replica, and its answer to the question whether it lives (rule 21).

The answer says nothing: nats-server itself tells the asker that nobody is there once the connection of the process is
gone, which is within a millisecond of its death. A frozen process keeps its connection, and is not taken for dead.
"""

import re
from typing import Final

from holdfast.bus import subjects
from holdfast.bus.api import Bus, Subscription
from holdfast.bus.ids import new_id

MAX_NAME_CHARS: Final = 80
"""Characters of the given name that are kept, so that the name of the replica is a token."""


def replica_name(given: str) -> str:
    """A name for this start of the process: a token that begins with `given`, other characters replaced by `-`."""
    start = re.sub(r"[^A-Za-z0-9_-]", "-", given)[:MAX_NAME_CHARS]
    return f"{start}-{new_id('run').removeprefix('run_').lower()[-10:]}"


async def serve_ping(bus: Bus, cell: str, name: str) -> Subscription:
    """Answer pings until closed."""
    return await bus.core.serve(subjects.ping(cell, name), _pong)


async def _pong(_: bytes) -> bytes:
    return b""
