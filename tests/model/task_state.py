"""The state of the model of tasks, and its rules (rules 31 to 35). Pure."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

RecordState = Literal["none", "open", "done", "dead"]
SessionState = Literal["absent", "live", "archived", "deleted"]
LetterState = Literal["none", "stored", "erased"]
MessageState = Literal["none", "waits", "gone"]
At = Literal[
    "idle", "read", "bind", "key", "open", "look", "enter", "put", "after", "rekey", "raise", "finish", "erase", "ack",
    "bury", "dead",
]  # fmt: skip
"""What an edge does next."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Bounds and rules; the defaults of the rules are the protocol's."""

    tasks: int = 1
    """Tasks that share one session key, so that the second has to follow the first."""
    publishes: int = 2
    """How often each of them is published, resends among them."""
    edges: int = 2
    ends: int = 1
    """Sessions that are archived or deleted."""
    changes: int = 0
    """How often the binding appears or vanishes; it is there first unless `unbound`."""
    unbound: bool = False
    window_ends: bool = True
    """The dedupe window of the inbox may end at any time."""
    gives_up: bool = True
    """An edge that has not put its input when the window ends lets go."""
    remembers: bool = True
    """The record of a task that is done is kept."""
    looks: bool = True
    """An edge that finds a record open looks whether its input is stored, before it puts it."""
    knows_ended: bool = True
    """An input that waits in a session which has ended counts as lost: no turn will take it."""
    looks_again: bool = True
    """An edge that finds the session ended looks whether the input was taken, before it goes to another session."""
    second_look: bool = True
    """After the put an edge looks whether the session has ended meanwhile."""
    acks_last: bool = True
    """The message is acknowledged after the record is done."""
    compares: bool = True
    """The record is written by compare-and-set."""
    creates_key: bool = True
    """The session key is made by create, so that the first one decides."""
    newer_only: bool = True
    """A dead task is opened again only by a message that is newer than all that died, and so is not acknowledged."""
    letter_first: bool = True
    """The dead letter is stored before the record says that the task is dead."""
    erases_first: bool = True
    """The letter of a task is erased before the record says that the task is done."""
    fresh_letters: bool = True
    """A dead letter has an id of its own; else that of its message, so that a second one is a duplicate."""


class Record(NamedTuple):
    """`session` -1: none yet. `origin`: the newest message that died. `letter`: where the bytes are."""

    state: RecordState = "none"
    session: int = -1
    attempt: int = 0
    origin: int = -1
    letter: int = -1


class Session(NamedTuple):
    """For each task: how many of its inputs wait and were taken, and whether the dedupe window knows one."""

    state: SessionState = "absent"
    waits: tuple[int, ...] = ()
    taken: tuple[int, ...] = ()
    seen: tuple[bool, ...] = ()

    @property
    def ended(self) -> bool:
        return self.state in ("archived", "deleted")


class Edge(NamedTuple):
    """One delivery in one process: `record` as it was read or written last, `session` that the key names."""

    at: At = "idle"
    message: int = 0
    record: Record = Record()
    session: int = -1
    letter: int = -1
    """The one that it has stored, or that it is to erase."""


class State(NamedTuple):
    """`owned`: a session that lived has got the input of that task, or it was taken."""

    bound: bool
    messages: tuple[MessageState, ...]
    letters: tuple[LetterState, ...]
    records: tuple[Record, ...]
    sessions: tuple[Session, ...]
    edges: tuple[Edge, ...]
    owned: tuple[bool, ...]
    key: int = -1
    ends: int = 0
    changes: int = 0
