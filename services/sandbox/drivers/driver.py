"""What a sandbox driver is. `services/sandbox/README.md` says what one has to guarantee."""

from typing import Protocol

import msgspec

from holdfast.bus.ids import Key
from holdfast.sandbox.drivers.sandbox import Outcome, Sandbox

__all__ = ["Driver", "Outcome", "Remedy", "Sandbox", "SandboxUnavailable"]


class Remedy(msgspec.Struct, frozen=True):
    """A way out: a sentence, or words that a command follows which can be pasted into a shell."""

    text: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.command}" if self.command else self.text


class SandboxUnavailable(Exception):
    """No isolated sandbox can be had here: `cause` is a sentence that says why, `remedies` are the ways out. Never run
    without one."""

    code = "sandbox_unavailable"

    def __init__(self, cause: str, remedies: tuple[Remedy, ...] = ()) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedies = remedies

    def __str__(self) -> str:
        """The cause, and each way out on a line of its own."""
        return "\n".join([self.cause, *(f"  {remedy}" for remedy in self.remedies)])


class Driver(Protocol):
    """Makes sandboxes. A sandbox belongs to the worker that made it and never outlives its lease (rule 16)."""

    name: str

    @property
    def weak_limits(self) -> str:
        """Which limits do not hold for a sandbox as a whole, and why; empty if all do. Known after `probe`."""
        ...

    async def probe(self) -> None:
        """Make one real sandbox and end it. Raises SandboxUnavailable with the cause."""
        ...

    async def create(self, key: Key, generation: str) -> Sandbox:
        """A new sandbox on the session's workspace, whose files it keeps. Raises SandboxUnavailable."""
        ...

    def keep_until(self, deadline: float) -> None:
        """Let no sandbox live past `deadline` (loop time) unless called again, even if this process is frozen."""
        ...

    async def remove_files(self, key: Key) -> None:
        """Delete the workspace of a session. May be repeated."""
        ...

    async def collect(self) -> list[str]:
        """Clear away what dead workers left on this host and return the ids of those workers."""
        ...

    async def open(self, worker: str) -> None:
        """Start to work as `worker`: its sandboxes are known by that name until `close`. Raises BadSettings."""
        ...

    async def close(self) -> None:
        """Kill every sandbox and release what is held outside of them."""
        ...
