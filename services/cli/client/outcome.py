"""How watching a session ended. Pure."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

FAILED_STOP_REASONS: Final = {
    "retries_exhausted": "failed",
    "refusal": "the model refused to go on",
    "budget_reached": "the budget of the session is used up",
}
"""Stop reasons that are failures, with the text that a person reads."""

End = Literal["done", "failed", "waits", "interrupted", "left", "gone"]


class Outcome(msgspec.Struct, frozen=True):
    """How watching a session ended."""

    end: End
    why: str = ""
    """A text for a person; empty if `end` says enough."""
    stop_reason: str | None = None
    """The stop reason of the API."""
    questions: Sequence[Any] = ()
    """The tool calls that wait for a client."""
