"""The ids of a task and of what it creates: hashes, so that a second try creates nothing twice. Pure."""

import hashlib
from typing import Final

import msgspec

from holdfast.bus.ids import id_of
from holdfast.bus.times import MILLISECOND_US

_TIME_SHIFT: Final = 80
"""Bits of an id below its time in milliseconds, as in a UUID of version 7."""


class TaskIds(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt of a task creates."""

    session: str
    """Unless its session key names another session."""
    thread: str
    config: str
    """Of the event that configures the session."""
    input: str
    event: str
    """Of the message in the input."""


def stored_name(stored_ns: int, seq: int) -> str:
    """The name of a task that has none: when it was stored (nanoseconds since 1970), and its place in the stream.

    The time tells two streams of one name apart.
    """
    return _json("stored", stored_ns, seq)


def task_id(tenant: str, kind: str, name: str) -> str:
    """The id of the task with that name (`TaskEvent.name` or `stored_name`): the same one for each publish."""
    return id_of("task", int.from_bytes(_digest("task", tenant, kind, name)[:17], "big") >> 6)


def ids_of(task: str, attempt: int, *, cell: str, stored_at: int) -> TaskIds:
    """The ids of an attempt, from 1. They sort by `stored_at`, when the task was stored (microseconds since 1970)."""

    def made(prefix: str, use: str) -> str:
        number = int.from_bytes(_digest(use, task, attempt)[:10], "big")
        return id_of(prefix, stored_at // MILLISECOND_US << _TIME_SHIFT | number)

    return TaskIds(
        session=made(f"sesn_{cell}", "session"),
        thread=made("sthr", "thread"),
        config=made("sevt", "config"),
        input=made("inp", "input"),
        event=made("sevt", "message"),
    )


def session_key_hash(key: str) -> str:
    """A rendered session key as a token of a bucket's key; its text may be private."""
    return hashlib.sha256(key.encode()).hexdigest()


def _digest(*parts: str | int) -> bytes:
    return hashlib.sha256(_json(*parts).encode()).digest()


def _json(*parts: str | int) -> str:
    """The parts as one text. JSON, so that no two lists of parts have the same one."""
    return msgspec.json.encode(parts).decode()
