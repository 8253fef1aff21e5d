"""Model requests: their starts and their ends. Pure."""

from typing import Final, Literal

import msgspec
from msgspec import field

from holdfast.bus.events.base import Event

CONTEXT_FULL_STOP: Final = "model_context_window_exceeded"
TRUNCATED_STOPS: Final = ("max_tokens", CONTEXT_FULL_STOP)
"""Stop reasons of a response that a limit ended: of the request, or of the model's context window."""

CONTINUED_STOPS: Final = ("pause_turn", "tool_use")
"""Stop reasons after which the model is asked again: it paused, or it wanted a tool and named none."""


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
    """When a failed request without a `session.error` of its own is made again (microseconds, Unix)."""
    broke_off: bool = field(name="_broke_off", default=False)
    """The failed response had begun, or was unusable: the number of such failures is limited, whatever the outage."""
    missed: list[str] = field(name="_missed", default_factory=list[str])
    """Ids of messages of the thread that were taken while the request was open: the response does not answer them."""
