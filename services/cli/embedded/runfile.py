"""`run.json`: how a script finds and uses a running stack. Mode 0600, because it holds the API key."""

from pathlib import Path
from typing import Final

import msgspec

from holdfast.cli.embedded.layout import write_private
from holdfast.cli.embedded.procfs import started

NAME: Final = "run.json"

TENANT: Final = "default"
"""The one tenant of an embedded stack."""


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """A running stack. Written when it is ready, again whenever a process is restarted, removed when it stops."""

    base_url: str
    api_key: str
    data: str
    logs: str
    nats_url: str
    bao_url: str = ""
    credentials: dict[str, str]
    """Path of the NATS credentials of each user."""
    supervisor: int
    """Process id of `holdfast up`."""
    supervisor_started: int = 0
    """Start time of that process in clock ticks since boot; it tells a reused process id apart."""
    processes: dict[str, int]
    """Process id of everything that is ready now."""
    health: dict[str, str]
    """Base address of /healthz and /readyz of each service."""
    version: str = ""
    model_base_url: str = ""
    """Where the harnesses reach the model."""
    models_file: str = ""
    """Path of the file with facts of models that the harnesses were given; empty: none."""
    has_model_key: bool = True
    """False when the model wants a key and the harnesses were given none: every task will fail."""

    @property
    def is_scripted(self) -> bool:
        """Whether the stack plays a scripted model of its own."""
        return "model" in self.processes

    @property
    def model_in_words(self) -> str:
        """The model for people: its address, and that a key for it is missing."""
        if self.is_scripted:
            return "scripted: no key, no cost"
        return self.model_base_url if self.has_model_key else f"{self.model_base_url} (no key)"

    def workspace(self, session: str) -> Path:
        """The folder that a session's sandbox sees as /workspace; it need not be there yet.

        It may be filled before the first message and read at any time: the embedded stack shares this machine.
        """
        return Path(self.data) / "sandbox" / "workspaces" / TENANT / session


def write(path: Path, run: RunFile) -> None:
    write_private(path, msgspec.json.format(msgspec.json.encode(run), indent=2))


def running(folder: Path) -> RunFile | None:
    """The stack that runs in that data folder now; None when none does, also when a killed one left its file behind."""
    run = read(folder / NAME)
    return run if run and run.supervisor_started and started(run.supervisor) == run.supervisor_started else None


def read(path: Path) -> RunFile | None:
    """The stack that `path` tells of; None when there is no such file. Raises OSError and msgspec.MsgspecError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunFile)
    except FileNotFoundError:
        return None
