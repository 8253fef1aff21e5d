"""Events of the agent: the blocks of a model response, tool results, compactions. Pure."""

from typing import Any, Literal

from msgspec import field

from holdfast.bus.events.base import Block, Event


class AgentEvent(Event, frozen=True, kw_only=True):
    """A block of a model response; `request` is the id of its span start, and groups the blocks for replay."""

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
    hand: str = field(name="_hand", default="")
    """Name of the hand that runs it; empty only if it was denied because there is no such tool."""
    reads: bool = field(name="_reads", default=False)
    """It changes nothing, so it may run beside others that only read (rule 12)."""


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
