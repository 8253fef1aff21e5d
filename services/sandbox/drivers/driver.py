"""The interface of a sandbox driver. `services/sandbox/README.md` says what a driver has to guarantee."""

from typing import Protocol

import msgspec

from holdfast.bus.ids import Key
from holdfast.sandbox.drivers.hand_spec import HandSpec
from holdfast.sandbox.drivers.sandbox import Outcome, Sandbox

__all__ = ["Driver", "HandSpec", "Outcome", "Remedy", "Sandbox", "SandboxUnavailable"]


class Remedy(msgspec.Struct, frozen=True):
    """A way to get a sandbox after all: a sentence, or a few words and a command to paste into a shell."""

    text: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.command}" if self.command else self.text


class SandboxUnavailable(Exception):
    """This host cannot make an isolated sandbox, so no tool runs. `cause` is a sentence, `remedies` the ways out."""

    code = "sandbox_unavailable"

    def __init__(self, cause: str, remedies: tuple[Remedy, ...] = ()) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedies = remedies

    def __str__(self) -> str:
        """The cause, then each remedy on a line of its own."""
        return "\n".join([self.cause, *(f"  {remedy}" for remedy in self.remedies)])


class Driver(Protocol):
    """Makes sandboxes. A sandbox belongs to the worker that made it and never outlives its lease (rule 16)."""

    name: str

    kept: str
    """A sentence for the model: what a loss of a sandbox leaves of the session's files."""

    elsewhere: str
    """Sentences for the model: the files of the session are on another host, of which no worker answers."""

    @property
    def host(self) -> str:
        """Id of the place where files of sessions stay (`host_id`); empty: nothing stays. Known after `open`."""
        ...

    @property
    def weak_limits(self) -> str:
        """Which limits do not hold for a sandbox as a whole, and why; empty if all hold. Known after `probe`."""
        ...

    async def probe(self) -> None:
        """Make one real sandbox and end it. Raises SandboxUnavailable with the cause."""
        ...

    async def create(self, spec: HandSpec) -> Sandbox:
        """Start a sandbox on the session's workspace; the files in it are kept.

        Raises SandboxUnavailable if this host can make none now, and UnsupportedHand for a field of the spec that the
        driver does not implement.
        """
        ...

    def keep_until(self, deadline: float) -> None:
        """Kill all sandboxes at `deadline` (loop time, seconds) unless called again, even if this process is frozen."""
        ...

    async def sessions(self) -> list[Key]:
        """The sessions of which this host has files."""
        ...

    async def remove_files(self, key: Key) -> None:
        """Delete the workspace of a session. May be repeated."""
        ...

    async def collect(self) -> list[str]:
        """Remove processes, control groups and folders of dead workers on this host. Returns those workers' ids."""
        ...

    async def open(self, worker: str) -> None:
        """Work as the worker `worker` until `close`: sandboxes are labelled with that id. Raises BadSettings."""
        ...

    async def close(self) -> None:
        """Kill every sandbox and remove control groups, lock and folder of this worker."""
        ...
