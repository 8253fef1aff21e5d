"""The supervisor's side of a fork server (`process/fork_server.py`): starts the server and gives it orders."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Generator, Mapping
from typing import Final

import msgspec

from holdfast.cli.embedded.child import Child, Process
from holdfast.cli.embedded.program import Program
from holdfast.process.fork_server import LOADED, MAX_ORDER_BYTES, Order
from holdfast.process.known_settings import FORK_FD

_PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None, use_errno=True)


ANSWER_TIMEOUT_S: Final = 30.0
"""Seconds that an order may take; the first one waits for the modules to be loaded."""


class CannotFork(Exception):
    """The server has ended or hangs, or has no room for a process. The program can be started by itself."""


class Forked:
    """A process of a fork server: a child of this process, with the members of `subprocess.Popen` that `Child` uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode = 0
        """Exit code, or minus the number of the signal that ended it; valid after `wait`."""

    def wait(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Called only before it has been reaped, so the process id is still its own."""
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class ForkServer:
    """The fork server of some programs. It is started at once, and again by the first order after it has ended."""

    def __init__(self, program: Program, *, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """`program`: any of them; it says how the server is started. Raises OSError."""
        self._program = program
        self._answer_timeout_s = answer_timeout_s
        self._lock = asyncio.Lock()
        self._start()

    def _start(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders.setblocking(False)
        self._is_loaded = False
        try:
            extra = {FORK_FD: str(theirs.fileno())}
            self._server = Child.execute(self._program, extra, keep=(theirs.fileno(),))
        except OSError:
            self._orders.close()
            raise
        finally:
            theirs.close()

    async def fork(self, program: Program, extra: Mapping[str, str]) -> Child:
        """A process of `program`, which waits for the go. Waits until the server has loaded its modules.

        Raises CannotFork and OSError.
        """
        async with self._lock:
            if self._server.ended.is_set():
                self._orders.close()
                self._start()
            try:
                async with asyncio.timeout(self._answer_timeout_s):
                    return await Child.start(program, lambda log, go: self._order(program, extra, log, go))
            except TimeoutError:
                await self._server.kill()  # the next order starts another one
                raise CannotFork from None

    async def _order(self, program: Program, extra: Mapping[str, str], log: int, go: int) -> Process:
        order = Order({**program.env, **extra}, str(program.log.parent), os.getpid())
        data = msgspec.json.encode(order)
        if len(data) > MAX_ORDER_BYTES:
            raise CannotFork
        self._is_loaded = self._is_loaded or await self._received() == LOADED
        if not self._is_loaded:
            raise CannotFork
        with _adopting_orphans():
            with contextlib.suppress(OSError):  # it has ended; so says the answer
                socket.send_fds(self._orders, [data], [log, go])
            pid = int(await self._received() or 0)
        if not pid or not _is_child(pid):
            raise CannotFork
        return Forked(pid)

    async def _received(self) -> bytes:
        """The next message of the server; empty when it has ended."""
        try:
            return await asyncio.get_running_loop().sock_recv(self._orders, 20)
        except OSError:
            return b""

    async def stop(self) -> None:
        """End the server. Its forks stay."""
        self._orders.close()
        await self._server.stop(1.0, asyncio.Event())


def _is_child(pid: int) -> bool:
    """Whether that process, alive or not, can be waited for. If not, the system gave it to another parent."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


@contextlib.contextmanager
def _adopting_orphans() -> Generator[None]:
    """This process becomes the parent of descendants that lose theirs, which is how it gets the forks as children.

    Only meanwhile: it would have to reap the orphans of all services otherwise.
    """
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
