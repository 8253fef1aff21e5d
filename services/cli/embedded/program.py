"""A program of the stack as the supervisor runs it, and what a probe of it finds."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec


class Readiness(msgspec.Struct, frozen=True):
    """What a probe found. A `cause` means that the program does not become ready until a person acts; empty: it may
    become ready by itself. `notes` are sentences for a person, by topic."""

    ok: bool
    cause: str = ""
    notes: Mapping[str, str] = {}


Probe = Callable[[], Awaitable[Readiness]]


async def never_ready() -> Readiness:
    """The probe of a program that does its work and ends."""
    return Readiness(False)


class NotReady(Exception):
    """A program did not become ready, or is not restarted any more. `cause` is for a person; `log` says more."""

    def __init__(self, name: str, cause: str, log: Path) -> None:
        super().__init__(f"{name}: {cause}")
        self.name = name
        self.cause = cause
        self.log = log


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A program of the stack. If it needs other programs or milestones (`needs`), it is started at once all the same,
    and is told to go on when they are ready: it waits in `process.go.wait_for_go`."""

    name: str
    argv: list[str]
    env: dict[str, str]
    log: Path
    probe: Probe
    needs: tuple[str, ...] = ()
    first_env: Mapping[str, str] = {}
    """Variables that only the first start gets."""
    fork_server: str = ""
    """Programs that name the same fork server are forked from one process, which has loaded their modules; their `argv`
    has to be the same. Empty: started by itself."""
    stop_timeout: float = 7.0
    """Seconds between SIGTERM and SIGKILL."""
