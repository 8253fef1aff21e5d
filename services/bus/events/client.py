"""Events that clients send. Pure."""

from typing import Literal

from holdfast.bus.events.base import Block, Event


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
