"""The folder that a worker has for itself on its host, and the lock in it, which says whether the worker still lives.

The kernel releases the lock when the process that holds it ends. So an unlocked one is evidence that the worker is
dead, and that what it has left on the host may be removed.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Generator
from pathlib import Path

from holdfast.process.settings import BadSettings
from holdfast.sandbox.drivers.driver import SandboxUnavailable

LOCK = "lock"
"""Name of the lock file in the folder of a worker."""


class WorkerHomes:
    """The folders of the workers of one driver, in the folder `run`. The methods block."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._lock_fd = -1

    def of(self, worker: str) -> Path:
        """The folder of that worker."""
        return self._run / worker

    def claim(self, worker: str) -> None:
        """Make the folder of this process and lock it until `release`. Raises BadSettings."""
        home = self.of(worker)
        try:
            home.mkdir(parents=True, mode=0o700)
        except (PermissionError, NotADirectoryError, FileExistsError) as exc:
            raise BadSettings(f"HOLDFAST_DATA_DIR: no folder can be made in {self._run} ({exc.strerror})") from None
        self._lock_fd = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)

    def dead(self, own: str) -> list[str]:
        """The ids of workers that have ended and left their folder. `own`: the worker of this process."""
        return [home.name for home in self._run.glob("*") if home.name != own and self.is_dead(home.name)]

    def is_dead(self, worker: str) -> bool:
        """Whether no process holds the lock of that worker, or the folder is gone: a worker removes it at its end."""
        try:
            fd = os.open(self.of(worker) / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def remove(self, worker: str) -> None:
        """Remove the folder of a worker that is dead."""
        shutil.rmtree(self.of(worker), ignore_errors=True)

    def release(self, own: str) -> None:
        """Remove the folder of this process and give up the lock. May be repeated."""
        if self._lock_fd >= 0:
            self.remove(own)
            os.close(self._lock_fd)
            self._lock_fd = -1


@contextlib.contextmanager
def as_unavailable(what: str) -> Generator[None]:
    """Raise SandboxUnavailable for an OSError in the block: it concerns one sandbox and not the worker."""
    try:
        yield
    except OSError as exc:
        raise SandboxUnavailable(f"{what}: {exc.strerror or exc}") from exc
