"""One bash process and the descriptors to it: commands in; output, status and the end of the process out."""

from __future__ import annotations

import _socket  # the part of `socket` in C: the other part takes 3 ms to import, as long as a fork
import contextlib
import os
import select
import signal

from .files import read_bounded
from .processes import after_fork, catches, fork, kill, wait
from .shell_program import FIRST_FD, PROGRAM, STATE_FILE, STOP_SIGNAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, NoReturn

    from .poller import Poller

PARKING_FD: Final = 240
"""The child moves the descriptors here and up before it puts them in place, so that none overwrites another."""

OPEN_FILES: Final = 512
"""RLIMIT_NOFILE in the sandbox: no descriptor is higher."""

STATUS_BYTES: Final = 4 * 1024 * 1024
"""Largest answer on the status descriptor: the environment of a process cannot be much larger."""

CHUNK_BYTES: Final = 65536
"""Bytes of one read or write."""

OUTPUT_READS: Final = 16
"""Reads of output in a row before other handlers get their turn."""


class BashProcess:
    """Starts bash in the folder `cwd`, or in `fallback` if that has been removed. Raises OSError.

    `on_output` gets its output, `on_status` the bytes of the status descriptor; `on_exit` is called when it has ended.
    """

    def __init__(
        self,
        poller: Poller,
        folders: tuple[str, str],
        on_output: Callable[[bytes], None],
        on_status: Callable[[bytes], None],
        on_exit: Callable[[], None],
    ) -> None:
        self._poller = poller
        self._on_output, self._on_status = on_output, on_status
        self._unsent = bytearray()
        # No process of the sandbox can open a socket by /proc/<id>/fd, as it can a pipe.
        commands, self._commands = socket_pair()
        self._status, status = socket_pair()
        self._output, output = os.pipe()
        try:
            self.pid = fork()
            if self.pid == 0:
                _become_bash((output, commands, status), folders)
        except OSError:
            for fd in (self._commands, self._status, self._output):
                os.close(fd)
            raise
        finally:
            for fd in (commands, status, output):
                os.close(fd)
        self._pidfd = os.pidfd_open(self.pid)
        for fd in (self._output, self._status, self._commands):
            os.set_blocking(fd, False)
        poller.watch(self._output, self.read_output)
        poller.watch(self._status, self._read_status)
        poller.watch(self._pidfd, on_exit)

    def send(self, data: bytes) -> None:
        """Send NUL-ended commands, also to a shell that a background job has stopped."""
        kill(self.pid, signal.SIGCONT)
        self._unsent = bytearray(data)
        self._flush()

    def stop_command(self) -> None:
        """Make bash run no more of the command than the processes it waits for, and answer its status then.

        A shell that does not hear it, as the command has it ignored, is killed: it would go on with the next line.
        """
        if catches(self.pid, STOP_SIGNAL):
            kill(self.pid, STOP_SIGNAL)
        else:
            self.end()

    def end(self) -> None:
        """Kill bash; `on_exit` follows. An answer that it has already written counts no more.

        Else its command would end as if the shell stayed, and the next command would go to a shell that is dying.
        """
        self._poller.unwatch(self._status)
        kill(self.pid, signal.SIGKILL)

    def drop_unsent(self) -> None:
        """Do not send the rest of the commands."""
        self._unsent.clear()

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: os.write(self._commands, self._unsent[:CHUNK_BYTES])]
        except BlockingIOError:
            self._poller.watch(self._commands, self._flush, select.EPOLLOUT)
            return
        except (BrokenPipeError, ConnectionResetError):
            self._unsent.clear()  # bash is ending; `on_exit` will follow
        self._poller.unwatch(self._commands)

    def read_output(self) -> None:
        """Read the output that is there now, so that no process blocks on a full pipe."""
        for _ in range(OUTPUT_READS):
            try:
                data = os.read(self._output, CHUNK_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._poller.unwatch(self._output)
                return
            self._on_output(data)

    def _read_status(self) -> None:
        try:
            data = os.read(self._status, CHUNK_BYTES)
        except BlockingIOError:
            return
        if data:
            self._on_status(data)
        else:
            # bash became another program by `exec`: the end of that program is the end of the command.
            self._poller.unwatch(self._status)

    def reap(self) -> int:
        """The exit code of the process, which must be ending; -N if signal N killed it. Closes all descriptors."""
        status = wait(self.pid)
        for fd in (self._pidfd, self._commands, self._status, self._output):
            self._poller.unwatch(fd)
            os.close(fd)
        return os.waitstatus_to_exitcode(status)


def socket_pair() -> tuple[int, int]:
    """Two connected descriptors. Raises OSError."""
    ours, theirs = _socket.socketpair()
    return ours.detach(), theirs.detach()


def _become_bash(fds: tuple[int, int, int], folders: tuple[str, str]) -> NoReturn:
    """The child process: put the descriptors in place and execute bash."""
    try:
        os.setsid()
        after_fork()
        null = os.open("/dev/null", os.O_RDWR)
        for index, fd in enumerate([os.dup2(fd, PARKING_FD + index) for index, fd in enumerate(fds)]):
            os.dup2(fd, FIRST_FD + index)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.closerange(3, FIRST_FD)
        os.closerange(FIRST_FD + 3, OPEN_FILES)
        for folder in (*folders, "/"):  # the last one so that the model can mend the rights of the others
            with contextlib.suppress(OSError):
                os.chdir(folder)
                break
        os.execve("/bin/bash", ["bash", "--noprofile", "--norc", "-c", PROGRAM], os.environ)  # noqa: S606  no shell
    finally:
        os._exit(127)


def left_state() -> tuple[str, bytes] | None:
    """Folder and exported variables (as commands) that a shell left when it exited, once; None if it left nothing."""
    try:
        fd = os.open(STATE_FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        os.unlink(STATE_FILE)  # noqa: PTH108  pathlib is slow to import
        parts = read_bounded(fd, STATUS_BYTES).split(b"\0")
    except OSError:
        return None
    finally:
        os.close(fd)
    return (os.fsdecode(parts[0]), parts[1]) if len(parts) == 3 else None


class StatusReader:
    """Takes apart the answers of bash; the first `skip` of them are dropped. Raises ValueError for nonsense."""

    def __init__(self, skip: int) -> None:
        self._skip = skip
        self._unread = bytearray()

    def add(self, data: bytes) -> tuple[int, str, bytes] | None:
        """Exit code, folder and exported variables (as commands) once the answer is complete; None before."""
        self._unread += data
        while self._unread.count(b"\0") >= 3:
            code, cwd, exports, rest = bytes(self._unread).split(b"\0", 3)
            self._unread = bytearray(rest)
            if self._skip:
                self._skip -= 1
            elif code.isdigit():
                return int(code), os.fsdecode(cwd), exports
            else:
                raise ValueError("no exit code")
        if len(self._unread) > STATUS_BYTES:
            raise ValueError("no end")
        return None
