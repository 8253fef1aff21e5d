"""One child process: started in a group of its own, killed with its parent, reaped through a pidfd.

The group is killed only while its leader has not been reaped, so a signal never hits another process with a reused id.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Final

from holdfast.cli.embedded.program import Program
from holdfast.process.go import GO
from holdfast.process.known_settings import GO_FD

SETTINGS_EXIT_CODE: Final = 2
"""Exit code of a process that refuses its settings; a restart would not help."""

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)
"""Loaded before any fork, because the child must not load libraries between fork and exec."""


def die_with_parent(parent: int) -> Callable[[], None]:
    """A `preexec_fn` with which the child gets SIGKILL when process `parent` ends, also if it has ended already."""

    def arm() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return arm


class Child:
    """One run of a program, in a process group of its own. `ended` is set when it has been reaped."""

    def __init__(self, program: Program, extra: Mapping[str, str], *, waits: bool = False) -> None:
        """`waits`: the program waits until `go` is called. Raises OSError."""
        loop = asyncio.get_running_loop()
        go, self._go = os.pipe() if waits else (-1, -1)
        try:
            with program.log.open("ab") as log:
                self.log_offset = log.tell()
                self._process = subprocess.Popen(  # noqa: S603  argv is ours, no shell
                    program.argv,
                    env={**program.env, **extra, **({GO_FD: str(go)} if waits else {})},
                    cwd=program.log.parent,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(go,) if waits else (),
                    preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509  this process has one thread
                )
        except OSError:
            self._close_go()
            raise
        finally:
            if waits:
                os.close(go)
        self.pid = self._process.pid
        self.started = time.monotonic()
        self.ended = asyncio.Event()
        self._pidfd = os.pidfd_open(self.pid)
        loop.add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._close_go()
        self._kill_group()  # processes that it left behind; unreaped, it still owns the number of the group
        self._process.wait()
        self.ended.set()

    def go(self) -> None:
        """Tell a program that waits to go on. Does nothing if it does not wait, or has ended."""
        if self._go >= 0:
            with contextlib.suppress(BrokenPipeError):  # it has just ended
                os.write(self._go, GO)
            self._close_go()

    def _close_go(self) -> None:
        if self._go >= 0:
            os.close(self._go)
            self._go = -1

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    @property
    def outcome(self) -> str:
        """How it ended, such as `exit code 1` or `signal SIGKILL`."""
        code = self._process.returncode
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it, so that its log does not say why."""
        return self._process.returncode < 0

    @property
    def is_done(self) -> bool:
        """Whether it has ended well."""
        return self._process.returncode == 0

    @property
    def refused(self) -> bool:
        """Whether it refused its settings."""
        return self._process.returncode == SETTINGS_EXIT_CODE

    def terminate(self) -> None:
        """SIGTERM, unless it has been reaped."""
        if not self.ended.is_set():
            self._process.terminate()
            # A process that was stopped with SIGSTOP handles SIGTERM only after SIGCONT.
            self._process.send_signal(signal.SIGCONT)

    async def stop(self, timeout: float, hurry: asyncio.Event) -> None:  # noqa: ASYNC109  it ends in SIGKILL
        """SIGTERM, and SIGKILL to the group after `timeout` seconds or on `hurry`. Returns when it has been reaped."""
        self.terminate()
        waits = [asyncio.create_task(event.wait()) for event in (self.ended, hurry)]
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if not self.ended.is_set():
            self._kill_group()
            await self.ended.wait()
