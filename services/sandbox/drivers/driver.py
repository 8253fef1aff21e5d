"""What a sandbox driver is. `services/sandbox/README.md` says what one has to guarantee."""

from typing import Protocol

import msgspec

from services.bus.events import Block
from services.bus.ids import Key


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


class BoxLost(Exception):
    """The sandbox is gone, and with it the call; `reason` names what happened to it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Outcome(msgspec.Struct, frozen=True):
    """The result of a tool call as the model will see it."""

    content: list[Block]
    is_error: bool = False


class Box(Protocol):
    """A living sandbox of one session. Everything that comes out of it is untrusted and has been checked."""

    async def run(self, call: str, name: str, arguments: dict[str, object]) -> Outcome:
        """Run one tool and return its result; several may run at once. Raises BoxLost when the sandbox dies under it.

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
