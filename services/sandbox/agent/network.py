"""The way out of the sandbox as programs see it: an HTTP proxy on loopback. It leads to a socket of the service.

The agent only listens. The first connection makes it fork a process that forwards, because bulk data must not hold up
the agent. The agent goes on holding the listening socket: no program can take the port, and when the forwarder was
killed, the next connection makes another one.
"""

from __future__ import annotations

import _socket
import os
import signal

from .bash_process import socket_pair
from .forwarder import run_forwarder
from .processes import fork, kill, wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .poller import Poller

SOCKET: Final = "/run/egress/proxy"
"""The socket of the service, if this sandbox has a network."""

PORT: Final = 3128
"""Port on 127.0.0.1 of the proxy: the usual one of proxies."""

BACKLOG: Final = 128

PAUSE_S: Final = 1.0
"""Seconds until a forwarder is forked again when that has failed."""


class Network:
    """Nothing, in a sandbox without a network."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._pid = 0
        self._listener = -1
        if os.path.exists(SOCKET):  # noqa: PTH110  pathlib is slow to import
            self._listen()

    def processes(self) -> set[int]:
        """The ids of the agent's processes for it."""
        return {self._pid} if self._pid else set()

    def _listen(self) -> None:
        listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        listener.bind(("127.0.0.1", PORT))
        listener.listen(BACKLOG)
        listener.setblocking(False)
        self._listener = listener.detach()
        self._poller.watch(self._listener, self._start)

    def _start(self) -> None:
        """A program wants to connect: fork the forwarder, which accepts from now on."""
        self._poller.unwatch(self._listener)
        ours, theirs = socket_pair()
        try:
            self._pid = fork()
            if self._pid == 0:
                run_forwarder(self._listener, theirs, SOCKET)
        except OSError:  # as many processes as there may be
            os.close(ours)
            self._poller.after(PAUSE_S, lambda: self._poller.watch(self._listener, self._start))
            return
        finally:
            os.close(theirs)
        self._poller.watch(ours, lambda: self._on_exit(ours))

    def _on_exit(self, ours: int) -> None:
        """The forwarder has closed its end: it ends, or was killed."""
        self._poller.unwatch(ours)
        os.close(ours)
        kill(self._pid, signal.SIGKILL)
        wait(self._pid)
        self._pid = 0
        self._poller.watch(self._listener, self._start)
