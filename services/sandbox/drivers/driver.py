"""What a sandbox driver is. `services/sandbox/README.md` says what one has to guarantee."""

from typing import Protocol

from holdfast.bus.ids import Key
from holdfast.sandbox.box import Box, BoxLost, Outcome

__all__ = ["Box", "BoxLost", "Driver", "Outcome", "SandboxUnavailable"]


class SandboxUnavailable(Exception):
    """No isolated sandbox can be had here: `cause` says why, `remedies` are the ways out. Never run without one."""

    code = "sandbox_unavailable"

    def __init__(self, cause: str, remedies: tuple[str, ...] = ()) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedies = remedies

    def __str__(self) -> str:
        ways = "".join(f" ({number}) {way}" for number, way in enumerate(self.remedies, 1))
        return f"{self.cause}.{' Ways out:' + ways if ways else ''}"


class Driver(Protocol):
    """Makes sandboxes. A sandbox belongs to the worker that made it and never outlives its lease (rule 16)."""

    name: str

    async def probe(self) -> None:
        """Make one real sandbox and end it. Raises SandboxUnavailable with the cause."""
        ...

    async def create(self, key: Key, generation: str) -> Box:
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
        """Start to work as `worker`: its sandboxes are known by that name until `close`."""
        ...

    async def close(self) -> None:
        """Kill every sandbox and release what is held outside of them."""
        ...
