"""The events of a session: one frozen struct each, in one tagged union.

Field names and types are those of the wire (SDK `types/beta/sessions`), so that an event is stored as it is shown.
What only we need stands in fields whose JSON name begins with `_`, and in types that begin with `holdfast.`: the edge
shows neither. `processed_at` is not stored: it is the time of the commit plus the index of the event, in microseconds.
Blocks, tool inputs and agents stay plain JSON objects; the edge has checked them against the wire before they get here.
"""

from typing import Any, Literal

import msgspec
from msgspec import field

Block = dict[str, Any]
"""A content block as the Messages API spells it: text, image, document, search_result."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Something that happened in a session. `thread` is empty for the primary thread."""

    id: str
    thread: str = field(name="_thread", default="")


# --- what clients send -------------------------------------------------------------------------------------------


class UserMessage(Event, frozen=True, kw_only=True, tag="user.message"):
    content: list[Block]


class UserInterrupt(Event, frozen=True, kw_only=True, tag="user.interrupt"):
    session_thread_id: str | None = None


class UserToolConfirmation(Event, frozen=True, kw_only=True, tag="user.tool_confirmation"):
    tool_use_id: str
    result: Literal["allow", "deny"]
    deny_message: str | None = None
    session_thread_id: str | None = None


class UserCustomToolResult(Event, frozen=True, kw_only=True, tag="user.custom_tool_result"):
    custom_tool_use_id: str
    content: list[Block] | None = None
    is_error: bool | None = None
    session_thread_id: str | None = None


ClientEvent = UserMessage | UserInterrupt | UserToolConfirmation | UserCustomToolResult

# --- what the agent does -----------------------------------------------------------------------------------------


class AgentEvent(Event, frozen=True, kw_only=True):
    """Part of one answer of the model; `request` is the id of its span start, and groups the parts for replay."""

    request: str = field(name="_request", default="")


class AgentMessage(AgentEvent, frozen=True, kw_only=True, tag="agent.message"):
    content: list[Block]


class AgentThinking(AgentEvent, frozen=True, kw_only=True, tag="agent.thinking"):
    """A thinking block. Text and signature are kept for the replay to the model and never shown."""

    block: Block = field(name="_block", default_factory=dict[str, Any])


class AgentToolUse(AgentEvent, frozen=True, kw_only=True, tag="agent.tool_use"):
    """A call of a built-in tool. Its id is the id of the call everywhere; `model_id` is the model's own, for replay."""

    name: str
    input: dict[str, Any]
    evaluated_permission: Literal["allow", "ask", "deny"] | None = None
    evaluation: dict[str, Any] | None = None
    session_thread_id: str | None = None
    model_id: str = field(name="_model_id", default="")


class AgentCustomToolUse(AgentEvent, frozen=True, kw_only=True, tag="agent.custom_tool_use"):
    name: str
    input: dict[str, Any]
    session_thread_id: str | None = None
    model_id: str = field(name="_model_id", default="")


class AgentToolResult(Event, frozen=True, kw_only=True, tag="agent.tool_result"):
    tool_use_id: str
    content: list[Block] | None = None
    is_error: bool | None = None


class AgentContextCompacted(Event, frozen=True, kw_only=True, tag="agent.thread_context_compacted"):
    """The history before this event is replaced by `summary` in what the model is sent; the log keeps everything."""

    summary: str = field(name="_summary", default="")


# --- the session -------------------------------------------------------------------------------------------------


class StopReason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a session rests. `event_ids` only with `requires_action`: the calls that wait for the client."""

    type: Literal["end_turn", "requires_action", "retries_exhausted", "budget_reached", "refusal"]
    event_ids: list[str] | None = None


class SessionStatusRunning(Event, frozen=True, kw_only=True, tag="session.status_running"):
    pass


class SessionStatusIdle(Event, frozen=True, kw_only=True, tag="session.status_idle"):
    stop_reason: StopReason
    stop_details: dict[str, Any] | None = None


class SessionStatusRescheduled(Event, frozen=True, kw_only=True, tag="session.status_rescheduled"):
    """A model request failed and is made again at `retry_at` (microseconds, Unix)."""

    retry_at: int = field(name="_retry_at", default=0)


class SessionStatusTerminated(Event, frozen=True, kw_only=True, tag="session.status_terminated"):
    pass


class SessionError(Event, frozen=True, kw_only=True, tag="session.error"):
    """`error` is `{type, message, retry_status: {type: retrying|exhausted|terminal}, …}`."""

    error: dict[str, Any]


class SessionUpdated(Event, frozen=True, kw_only=True, tag="session.updated"):
    """Only what changed is set; a title that was cleared is told by `title_cleared`."""

    title: str | None = None
    metadata: dict[str, str] | None = None
    agent: dict[str, Any] | None = None
    title_cleared: bool = field(name="_title_cleared", default=False)


class SessionUsage(Event, frozen=True, kw_only=True, tag="session.usage"):
    usage: dict[str, Any]
    budget: dict[str, Any] | None = None


class SessionDeleted(Event, frozen=True, kw_only=True, tag="session.deleted"):
    pass


class ThreadEvent(Event, frozen=True, kw_only=True):
    agent_name: str
    session_thread_id: str


class ThreadStatusRunning(ThreadEvent, frozen=True, kw_only=True, tag="session.thread_status_running"):
    pass


class ThreadStatusIdle(ThreadEvent, frozen=True, kw_only=True, tag="session.thread_status_idle"):
    stop_reason: StopReason
    stop_details: dict[str, Any] | None = None


class ThreadStatusRescheduled(ThreadEvent, frozen=True, kw_only=True, tag="session.thread_status_rescheduled"):
    pass


class ThreadStatusTerminated(ThreadEvent, frozen=True, kw_only=True, tag="session.thread_status_terminated"):
    pass


class ModelUsage(msgspec.Struct, frozen=True):
    """Tokens of one model request, as the Messages API reports them (cached tokens are not in `input_tokens`)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    speed: str | None = None


class ModelRequestStart(Event, frozen=True, kw_only=True, tag="span.model_request_start"):
    purpose: Literal["turn", "compaction"] = field(name="_purpose", default="turn")


class ModelRequestEnd(Event, frozen=True, kw_only=True, tag="span.model_request_end"):
    """`stop` is the model's own stop reason, or `interrupted`, `abandoned`, `failed`."""

    model_request_start_id: str
    model_usage: ModelUsage
    is_error: bool | None = None
    stop: str = field(name="_stop", default="")
    retry_at: int = field(name="_retry_at", default=0)
    """Of a failure that no event of its own tells: the request is made again at this time (microseconds, Unix)."""
    broke_off: bool = field(name="_broke_off", default=False)
    """The failed answer had begun, or could not be used: such failures are counted, however long the outage lasts."""


# --- ours, never shown -------------------------------------------------------------------------------------------


class SessionConfig(Event, frozen=True, kw_only=True, tag="holdfast.session"):
    """What the session is made of; written at creation and, whole, at each update. Shapes are those of the wire."""

    tenant: str
    agent: dict[str, Any]
    environment_id: str
    environment: dict[str, Any]
    primary_thread: str
    title: str | None = None
    metadata: dict[str, str] = {}
    vault_ids: list[str] = []
    resources: list[dict[str, Any]] = []
    idempotency: str | None = None
    first_input: str | None = None
    """Id of the input with the initial events, which follows this commit. A creation that died before it is undone."""


class SandboxBound(Event, frozen=True, kw_only=True, tag="holdfast.sandbox"):
    """The session's sandbox is `generation` on `worker`; every ready call not yet bound belongs to it (rule 12)."""

    generation: str
    worker: str


class SandboxLost(Event, frozen=True, kw_only=True, tag="holdfast.sandbox_lost"):
    """That generation is gone; its open calls are closed in the same commit (rule 15)."""

    generation: str
    reason: str


class Blob(Event, frozen=True, kw_only=True, tag="holdfast.blob"):
    """Stands for an event too large for a commit; the body lies in the object store under `ref` (SHA-256, hex)."""

    of: str
    ref: str
    size: int


class Unknown(Event, frozen=True, kw_only=True, tag="holdfast.unknown"):
    """Read in place of an event whose type this version does not know, from a newer writer. It is never written."""

    of: str


AnyEvent = (
    UserMessage
    | UserInterrupt
    | UserToolConfirmation
    | UserCustomToolResult
    | AgentMessage
    | AgentThinking
    | AgentToolUse
    | AgentCustomToolUse
    | AgentToolResult
    | AgentContextCompacted
    | SessionStatusRunning
    | SessionStatusIdle
    | SessionStatusRescheduled
    | SessionStatusTerminated
    | SessionError
    | SessionUpdated
    | SessionUsage
    | SessionDeleted
    | ThreadStatusRunning
    | ThreadStatusIdle
    | ThreadStatusRescheduled
    | ThreadStatusTerminated
    | ModelRequestStart
    | ModelRequestEnd
    | SessionConfig
    | SandboxBound
    | SandboxLost
    | Blob
    | Unknown
)


def type_of(event: Event) -> str:
    """The wire type of an event, such as `agent.message`."""
    return str(event.__struct_config__.tag)


def is_shown(event: Event) -> bool:
    """Whether clients may see this event."""
    return not type_of(event).startswith("holdfast.")
