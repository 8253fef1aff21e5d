"""One child process: started in a group of its own, killed with its parent, reaped through a pidfd.

The group is killed only while its leader has not been reaped, so a signal never hits another process with a reused id.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from holdfast.cli.embedded.program import Program
from holdfast.process.go import GO
from holdfast.process.known_settings import GO_FD
from holdfast.process.parent_death import end_with_parent

SETTINGS_EXIT_CODE: Final = 2
"""Exit code of a process that refuses its settings; a restart would not help."""


class Process(Protocol):
    """A child of this process that has not been reaped: a `subprocess.Popen`, or a fork of a fork server."""

    pid: int
    returncode: int | Any
    """Exit code, or minus the number of the signal that ended it; valid after `wait`."""

    def wait(self) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def terminate(self) -> None: ...


class Child:
    """One run of a program, in a process group of its own. `ended` is set when it has been reaped."""

    def __init__(self, process: Process, go: int, log_offset: int) -> None:
        """`go`: the descriptor on which the process waits for the go; -1: it does not wait. `log_offset`: where its
        part of the log begins."""
        self._process = process
        self._go = go
        self.log_offset = log_offset
        self.pid = process.pid
        self.started = time.monotonic()
        self.ended = asyncio.Event()
        self._pidfd = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    @classmethod
    async def start(cls, program: Program, make: Callable[[int, int], Awaitable[Process]]) -> "Child":
        """The child that `make` makes of the descriptors of the log and of the pipe for the go, which it waits on.

        Raises OSError, and what `make` raises.
        """
        reading, writing = os.pipe()
        try:
            with program.log.open("ab") as log:
                offset = log.tell()
                return cls(await make(log.fileno(), reading), writing, offset)
        except BaseException:
            os.close(writing)  # a process that was made nevertheless ends
            raise
        finally:
            os.close(reading)

    @classmethod
    def execute(
        cls, program: Program, extra: Mapping[str, str], *, waits: bool = False, keep: tuple[int, ...] = ()
    ) -> "Child":
        """Start the program. `waits`: it waits until `go` is called. `keep`: descriptors that it gets.

        Raises OSError.
        """
        reading, writing = os.pipe() if waits else (-1, -1)
        try:
            with program.log.open("ab") as log:
                offset = log.tell()
                process = subprocess.Popen(  # noqa: S603  argv is ours, no shell
                    program.argv,
                    env={**program.env, **extra, **({GO_FD: str(reading)} if waits else {})},
                    cwd=program.log.parent,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(*keep, reading) if waits else keep,
                    preexec_fn=partial(end_with_parent, os.getpid()),  # noqa: PLW1509  this process has one thread
                )
                return cls(process, writing, offset)
        except OSError:
            if waits:
                os.close(writing)
            raise
        finally:
            if waits:
                os.close(reading)

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
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL to the group. Returns when it has been reaped."""
        self._kill_group()
        await self.ended.wait()
