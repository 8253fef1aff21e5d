"""A commit without what was said in it: types, ids, times, counts, names of ours. Pure.

For people who look into a session that they must not read. What a field of content holds is not even decoded, so it
cannot be shown by mistake. Large events stay in the object store.
"""

from typing import Final, Literal

import msgspec
from msgspec import field

from holdfast.bus.errors import Damaged, Newer
from holdfast.bus.events import ModelUsage
from holdfast.bus.head import Head
from holdfast.bus.inputs import VERSION
from holdfast.bus.records import UNREADABLE, check_version


class TypeOnly(msgspec.Struct, frozen=True):
    """The type of an error, of its retry, or of a stop reason."""

    type: str = ""


class ErrorOutline(TypeOnly, frozen=True):
    """A `session.error` without its message."""

    retry_status: TypeOnly = TypeOnly()


class ModelOutline(msgspec.Struct, frozen=True):
    id: str = ""


class AgentOutline(msgspec.Struct, frozen=True):
    """Of an agent only its model."""

    model: ModelOutline = ModelOutline()


class EventOutline(msgspec.Struct, frozen=True):
    """An event of any type. What its type does not have is empty."""

    type: str
    id: str
    thread: str = field(name="_thread", default="")
    of: str = ""
    """The type of a large event, whose body is not read."""
    name: str = ""
    """Of a tool. Clients choose the names of custom tools."""
    tool_use_id: str = ""
    evaluated_permission: str | None = None
    is_error: bool | None = None
    model_request_start_id: str = ""
    model_usage: ModelUsage | None = None
    model_stop: str = field(name="_stop", default="")
    purpose: str = field(name="_purpose", default="turn")
    stop_reason: TypeOnly | None = None
    error: ErrorOutline | None = None
    hand: str = ""
    generation: str = ""
    worker: str = ""
    reason: str = ""
    """Why a hand was lost, in words of ours."""
    agent: AgentOutline | None = None

    @property
    def kind(self) -> str:
        """The type, also of a large event."""
        return self.of if self.type == "holdfast.blob" else self.type


class CommitOutline(msgspec.Struct, frozen=True):
    """As `commits.Commit`; the head is whole, as it has no content but the configuration of the environment."""

    id: str
    at: int
    by: str
    head: Head
    events: list[EventOutline]
    v: int = 1


_COMMIT: Final = msgspec.json.Decoder(CommitOutline)


def decode_outline(data: bytes) -> CommitOutline:
    """The outline of a stored commit. Raises Newer, Damaged."""
    try:
        found = _COMMIT.decode(data)
    except UNREADABLE as exc:
        check_version(data, "a commit", VERSION)
        raise Damaged("not a commit") from exc
    if found.v > VERSION:
        raise Newer("a commit", found=found.v, known=VERSION)
    return found


State = Literal["model", "tools", "sandbox", "harness", "client", "retry", "rest", "ended"]
"""What a session does, or waits for, after a commit."""


def state_of(head: Head) -> State:  # noqa: PLR0911  one return a state
    """`sandbox`: a call waits for its sandbox to be made. `harness`: the next step is one of a harness."""
    if head.archived or head.deleted:
        return "ended"
    if any(thread.request for thread in head.threads.values()):
        return "model"
    ready = [call for call in head.calls if call.state == "ready"]
    if any(call.generation for call in ready):
        return "tools"
    if ready:
        return "sandbox"
    if head.status == "running":
        return "harness"
    if any(call.state in ("ask", "client") for call in head.calls):
        return "client"
    return "retry" if head.status == "rescheduling" else "rest"
