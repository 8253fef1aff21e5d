"""The agent's end of a helper: the forked process, frames to it, frames from it, and its end."""

from __future__ import annotations

import os
import select
import signal

from .bash_process import socket_pair
from .frames import FrameReader
from .helper import run_helper
from .processes import fork, kill, wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from .files import Root
    from .poller import Poller

REPLY_BYTES: Final = 36 * 1024 * 1024
"""Largest reply: a PDF of 20 MiB in base64 is 27 MiB."""

CHUNK_BYTES: Final = 1 << 18
"""Bytes of one read or write."""

READS: Final = 64
"""Reads in a row before other handlers get their turn."""


class HelperProcess:
    """Forked from the agent, so that everything is loaded already. Raises OSError if no process can be started.

    A socket pair leads to it, not pipes: other processes of the sandbox can open a pipe by /proc/<id>/fd, but no
    socket, and the kernel tells when a process has ended without having read what was sent to it.

    `on_frame` gets each frame from it. `on_exit` is called once, when it has ended and was waited for; its second
    argument tells that it had not read the whole of the last frame sent.
    """

    def __init__(
        self,
        poller: Poller,
        root: Root,
        on_frame: Callable[[HelperProcess, bytes], None],
        on_exit: Callable[[HelperProcess, bool], None],
    ) -> None:
        self._poller = poller
        self._on_frame, self._on_exit = on_frame, on_exit
        self._replies = FrameReader(REPLY_BYTES)
        self._unsent = memoryview(b"")
        self._waits_for_room = False
        self._fd, theirs = socket_pair()
        try:
            self.pid = fork()
            if self.pid == 0:
                run_helper(theirs, root)
        except OSError:
            os.close(self._fd)
            raise
        finally:
            os.close(theirs)
        os.set_blocking(self._fd, False)
        poller.watch(self._fd, self._on_ready)

    def send(self, frame: bytes) -> None:
        """Send a frame. The one before must have been answered. `on_exit` may be called meanwhile."""
        self._unsent = memoryview(frame)
        self._flush()

    def kill(self) -> None:
        """Kill the process, not its children. `on_exit` follows."""
        kill(self.pid, signal.SIGKILL)

    def _on_ready(self) -> None:
        if self._unsent:
            self._flush()
        else:
            self._read()

    def _flush(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._fd, self._unsent[:CHUNK_BYTES]) :]
        except BlockingIOError:
            self._waits_for_room = True
            self._poller.watch(self._fd, self._on_ready, select.EPOLLIN | select.EPOLLOUT)
            return
        except (BrokenPipeError, ConnectionResetError):
            self._reap(unread=True)
            return
        self._unsent = memoryview(b"")  # the last slice holds the whole frame in memory
        if self._waits_for_room:
            self._waits_for_room = False
            self._poller.watch(self._fd, self._on_ready)

    def _read(self) -> None:
        for _ in range(READS):
            try:
                data = os.read(self._fd, CHUNK_BYTES)
            except BlockingIOError:
                return
            except ConnectionResetError:  # it ended with data in its socket that it had not read
                self._reap(unread=True)
                return
            if not data:
                self._reap(unread=False)
                return
            self._replies.add(data)
            try:
                frame = self._replies.next()
            except ValueError:
                self.kill()
                return
            if frame is not None:
                self._on_frame(self, frame)
                return

    def _reap(self, *, unread: bool) -> None:
        """Wait for the process, which has closed its socket and so is ending."""
        self._poller.unwatch(self._fd)
        os.close(self._fd)
        self.kill()
        wait(self.pid)
        self._on_exit(self, unread)
