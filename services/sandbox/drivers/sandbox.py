"""A living sandbox, whatever made it, and what a call in it gives."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from holdfast.bus.events import Block

OnPrinted = Callable[[str], None]
"""Told what a running command has printed since the last time: text without control characters. It must not wait."""


class SandboxLost(Exception):
    """The sandbox is gone, and with it the call; `reason` names what happened to it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Outcome(msgspec.Struct, frozen=True):
    """The result of a tool call as the model will see it."""

    content: list[Block]
    is_error: bool = False


class Sandbox(Protocol):
    """A living sandbox of one session. Everything that comes out of it is untrusted and has been checked."""

    async def run(
        self, call: str, name: str, arguments: dict[str, object], on_printed: OnPrinted | None = None
    ) -> Outcome:
        """Run one tool and return its result; several may run at once. Raises SandboxLost when the sandbox dies.

        What `bash` prints is told to `on_printed` while the command runs: a prefix of the result, best effort.

        Never longer than the limit of the tool and some slack: a sandbox that says nothing by then is killed. Once
        `cancel` has been called for it the result means nothing.
        """
        ...

    async def cancel(self, call: str) -> None:
        """Stop the call with all its processes and return when `run` has ended: within about a second, or the box dies.

        A call that is not running is left alone.
        """
        ...

    async def kill(self, reason: str) -> None:
        """End the sandbox with everything in it; returns when nothing of it runs. May be repeated."""
        ...

    async def wait(self) -> str:
        """Return the reason once the sandbox is gone, for whatever cause."""
        ...
