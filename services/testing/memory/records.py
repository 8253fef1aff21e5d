"""What the server in memory stores and passes around."""

import fnmatch
from collections.abc import Callable
from contextvars import Context

import msgspec

from holdfast.bus.ids import Key
from holdfast.bus.inputs import Source


class Record(msgspec.Struct):
    """A stored message; times are those of the running loop, in seconds."""

    seq: int
    key: Key
    data: bytes
    stored_at: float
    id: str = ""
    removed_at: float = 0.0
    source: Source = "in"
    """Of an inbox message: the subject it is on."""


class InFlight(msgspec.Struct):
    """A delivery that has not been acked."""

    count: int
    deadline: float


class CoreMessage(msgspec.Struct, frozen=True):
    """A core message on its way to a subscriber."""

    subject: str
    data: bytes
    seq: int = 0
    previous: int = -1
    """Of an arrival: the sequence of the last message before it on the same subject; 0: none."""


class Subscriber(msgspec.Struct, eq=False):
    """One subscription: `receive` is called in the context of the process that subscribed."""

    pattern: str
    queue: str
    receive: Callable[[CoreMessage], None]
    context: Context


class Puller(msgspec.Struct, eq=False):
    """A consumer with room for `free` more deliveries. `name`: that of its process, or of the consumer."""

    free: int
    take: Callable[[Record, int], None]
    name: str


def matches(pattern: str, subject: str) -> bool:
    """True if the subject matches a pattern with `*` and `>`."""
    if pattern.endswith(">"):
        return fnmatch.fnmatchcase(subject, pattern[:-1].replace("*", "[!.]*") + "*")
    return pattern == subject or (
        "*" in pattern
        and pattern.count(".") == subject.count(".")
        and fnmatch.fnmatchcase(subject, pattern.replace("*", "[!.]*"))
    )
