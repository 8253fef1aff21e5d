"""Every failure that may cross the bus or leave the bus client. Pure.

BusError
├── Conflict       the log or the key has moved on; nothing was written     re-read, then decide again
├── Refused        a rule says no, and will say so again                     never retry
├── Absent         what was named is not there
├── Newer          written by a newer version of Holdfast than this one       leave it to that version; retry it later
├── OtherProtocol  the streams are of another protocol than this version's    do not start; nothing was changed
├── Damaged        what is stored cannot be read by any version               never retry; an operator has to look
│   └── LostBody       its body is not in the object store                    the same
├── NoResponders   nobody listens on that subject: the peer is dead or gone  known within a millisecond
├── Unavailable    no answer in time; whether it happened is not known       retry the same thing
│   ├── Unanswered     the request or its answer was lost                    the same
│   └── StorageFull    the stream has no room; nothing was written           retry the same thing, later
├── InboxFull      the inbox of the session has no room; nothing was stored  retry the same thing, later
└── TooLarge       the message is over the limit of the stream               make it smaller
"""


class BusError(Exception):
    """A failure with a code that may be shown to the other side."""

    code = "bus_error"
    retryable = False


class Conflict(BusError):
    """The subject or key is at `actual`, the writer expected `expected`. Nothing was written."""

    code = "conflict"
    retryable = True

    def __init__(self, *, expected: int, actual: int) -> None:
        super().__init__(f"expected sequence {expected}, it is at {actual}")
        self.expected = expected
        self.actual = actual


class Refused(BusError):
    """A rule of the domain says no."""

    code = "refused"


class Absent(BusError):
    """What was named does not exist."""

    code = "absent"


class Newer(BusError):
    """A stored record, commit, input or a request is of a newer version than this process knows.

    It is whole, and a process of that version can read it. So it is never skipped for good, overwritten or answered as
    if it did not exist.
    """

    code = "newer"
    retryable = True

    def __init__(self, what: str, *, found: int | None = None, known: int | None = None) -> None:
        versions = "" if found is None else f" of version {found} (this process knows {known})"
        super().__init__(f"{what}{versions} was written by a newer version of Holdfast")


class OtherProtocol(BusError):
    """The streams were made for another protocol (`streams.PROTOCOL`). Nothing was changed."""

    code = "other_protocol"


class Damaged(BusError):
    """Stored bytes are not what their place says, in no version."""

    code = "damaged"


class LostBody(Damaged):
    """The body of a large event or input is not in the object store, although its reference is stored."""

    code = "lost_body"


class NoResponders(BusError):
    """Nobody listens on the subject."""

    code = "no_responders"
    retryable = True


class Unavailable(BusError):
    """No answer in time; the effect is not known."""

    code = "unavailable"
    retryable = True


class Unanswered(Unavailable):
    """A request was sent, and no answer came: not in time, or not before the connection was lost."""


class StorageFull(Unavailable):
    """The stream or its server has reached a limit of its storage. Nothing was written."""

    code = "storage_full"


class InboxFull(BusError):
    """INBOX_LIMIT_MESSAGES inputs of the session wait. Nothing was stored; there is room once some are taken."""

    code = "inbox_full"
    retryable = True


class TooLarge(BusError):
    """The message is larger than its stream takes."""

    code = "too_large"
