"""The interface of a running sandbox, the same for every driver, and the result of a call in it."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from holdfast.bus.events import Block

OnPrinted = Callable[[str], None]
"""Receives the output of a running command since the last call: text without control characters. Must not block."""


class SandboxLost(Exception):
    """The sandbox ended before the call had a result; `reason` says how it ended."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Outcome(msgspec.Struct, frozen=True):
    """The result of a tool call as the model will see it."""

    content: list[Block]
    is_error: bool = False


class Sandbox(Protocol):
    """A running sandbox of one session. Its output is untrusted; everything returned here has been checked."""

    async def run(
        self, call: str, name: str, arguments: dict[str, object], on_printed: OnPrinted | None = None
    ) -> Outcome:
        """Run the tool `name` and return its result; several calls may run at once. Raises SandboxLost.

        `on_printed` receives the output of `bash` while the command runs: a prefix of the result, best effort.

        A sandbox that has not answered some seconds after the tool's time limit is killed. After `cancel(call)` the
        result has no meaning.
        """
        ...

    async def cancel(self, call: str) -> None:
        """Stop the call with all its processes; returns when `run` has ended.

        The agent has about a second, then the sandbox is killed. A call that is not running is left alone.
        """
        ...

    async def kill(self, reason: str) -> None:
        """End the sandbox; returns when none of its processes runs any more. May be repeated."""
        ...

    async def wait(self) -> str:
        """Wait until the sandbox has ended and return the reason."""
        ...
