"""What is known of a task, and what the delivery of one of its messages does next (rules 31 to 35). Pure."""

from typing import Literal

import msgspec

from holdfast.session.tasks.rejection import Reason


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Kept in the bucket `tasks`. It holds nothing that a publisher wrote. `stored_at` in microseconds since 1970."""

    v: int = msgspec.field(default_factory=lambda: 1)  # a factory, so that it is always written
    kind: str
    state: Literal["open", "done", "dead"]
    stored_at: int = 0
    """When the message that opened the task was stored; the ids of what it creates are derived from it."""
    session: str = ""
    """Empty: the task was never open."""
    attempt: int = 0
    """Sessions that the task was sent to, counted from 1."""
    binding: int = 0
    """The version of the binding, fixed when the task is opened."""
    key: str = ""
    """Hash of its session key, if it has one."""
    died_ns: int = 0
    """When the newest message of the task that died was stored, in nanoseconds since 1970; 0: none did."""
    letter: int = 0
    """Sequence of its dead letter; 0: it has none."""
    reason: Reason | None = None
    message: str = ""


class KeyedSession(msgspec.Struct, frozen=True, kw_only=True):
    """The session of all tasks with one session key."""

    v: int = msgspec.field(default_factory=lambda: 1)
    session: str


Action = Literal["open", "go on", "ack"]


def next_action(record: TaskRecord | None, stored_ns: int) -> Action:
    """What the delivery of a message does first that was stored at that time.

    A record that is open is driven on by whatever message of the task comes: all would do the same. A dead task is
    tried once more by a message that is newer than all that died: it was published or sent again. An older one may be
    acknowledged already, so nobody would be obliged to go on after its delivery.
    """
    if record is None:
        return "open"
    if record.state == "open":
        return "go on"
    if record.state == "dead" and stored_ns > record.died_ns:
        return "open"
    return "ack"
