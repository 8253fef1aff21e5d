"""Events as clients send them, and the body of the request that sends them. Pure."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from holdfast.session.events.content import MessageBlock, ResultBlock, Tagged


class SentMessage(Tagged, frozen=True, kw_only=True, tag="user.message"):
    content: list[MessageBlock]


class SentInterrupt(Tagged, frozen=True, kw_only=True, tag="user.interrupt"):
    session_thread_id: str | None = None


class SentConfirmation(Tagged, frozen=True, kw_only=True, tag="user.tool_confirmation"):
    tool_use_id: str
    result: Literal["allow", "deny"]
    deny_message: Annotated[str, Meta(max_length=10_000)] | None = None


class SentResult(Tagged, frozen=True, kw_only=True, tag="user.custom_tool_result"):
    custom_tool_use_id: str
    content: list[ResultBlock] | None = None
    is_error: bool | None = None


class UnavailableEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """An event of the API that this version does not take. Its other fields are not checked: the answer names it."""


class SentOutcome(UnavailableEvent, frozen=True, kw_only=True, tag="user.define_outcome"):
    pass


class SentToolResult(UnavailableEvent, frozen=True, kw_only=True, tag="user.tool_result"):
    pass


class SentSystem(UnavailableEvent, frozen=True, kw_only=True, tag="system.message"):
    pass


Sent = SentMessage | SentInterrupt | SentConfirmation | SentResult | SentOutcome | SentToolResult | SentSystem


class EventsSend(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/sessions/{session_id}/events`."""

    events: list[Sent]
