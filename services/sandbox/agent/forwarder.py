"""The process that forwards connections from loopback to the socket of the service, and bytes both ways.

It knows nothing of what it forwards. It ends when the agent has ended, and when nothing was forwarded for a while.
"""

from __future__ import annotations

import _socket
import gc
import os
import select

from .bash_process import OPEN_FILES
from .processes import after_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

CHUNK_BYTES: Final = 1 << 16
"""Bytes that one direction of a connection holds at most."""

CONNECTIONS: Final = 128
"""Connections at the same time; each takes two open files. Further ones wait to be accepted. As many may wait at the
socket of the service (`egress_proxy.BACKLOG`)."""

IDLE_MS: Final = 60_000
"""Milliseconds without a connection after which the process ends."""


def run_forwarder(listener: int, alive: int, path: str) -> NoReturn:
    """The forked process. `alive`: a socket that the agent closes at its end."""
    status = 1
    try:
        os.setsid()
        after_fork()
        for fd in (0, 1):
            os.dup2(2, fd)  # /dev/null
        low, high = sorted((listener, alive))
        os.closerange(3, low)
        os.closerange(low + 1, high)
        os.closerange(high + 1, OPEN_FILES)
        gc.freeze()
        Forwarder(_socket.socket(fileno=listener), alive, path).run()
        status = 0
    finally:
        os._exit(status)


class Half:
    """One direction of a connection: bytes that were read from `source` and not yet written to `sink`."""

    def __init__(self, source: _socket.socket, sink: _socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.held = b""
        self.at_end = False
        """Nothing more comes from `source`."""
        self.broken = False
        """`sink` takes nothing more: what comes is dropped, so that its other direction is heard to the end."""
        self.done = False

    def step(self) -> None:
        """Read and write once, as far as that is possible without waiting."""
        if not self.held and not self.at_end:
            try:
                self.held = self.source.recv(CHUNK_BYTES)
                self.at_end = not self.held
            except BlockingIOError:
                pass
            except OSError:
                self.at_end = True
        if self.broken:
            self.held = b""
        if self.held:
            try:
                self.held = self.held[self.sink.send(self.held) :]
            except BlockingIOError:
                pass
            except OSError:
                self.held, self.broken = b"", True
        if self.at_end and not self.held and not self.done:
            self.done = True
            try:
                self.sink.shutdown(_socket.SHUT_WR)
            except OSError:
                self.broken = True


class Pair:
    """A connection of a program, and the one to the service."""

    def __init__(self, program: _socket.socket, service: _socket.socket) -> None:
        self.sockets = (program, service)
        self.halves = (Half(program, service), Half(service, program))

    @property
    def is_over(self) -> bool:
        """Whether both directions have ended, or the program takes nothing more: then the service shall stop sending.

        While only the service takes nothing more, its answer still has to reach the program.
        """
        return self.halves[1].broken or all(half.done for half in self.halves)

    def events(self, fd: int) -> int:
        """What to wait for on a socket: to read if nothing is held of it, to write if something is held for it."""
        wanted = 0
        for half in self.halves:
            if half.source.fileno() == fd and not half.held and not half.at_end:
                wanted |= select.EPOLLIN
            if half.sink.fileno() == fd and half.held:
                wanted |= select.EPOLLOUT
        return wanted

    def close(self) -> None:
        """Close both."""
        for one in self.sockets:
            one.close()


class Forwarder:
    """Accepts connections and serves them all in one thread."""

    def __init__(self, listener: _socket.socket, alive: int, path: str) -> None:
        self._listener, self._alive, self._path = listener, alive, path
        self._epoll = select.epoll()
        self._pairs: dict[int, Pair] = {}
        self._registered: dict[int, int] = {}
        self._is_full = False

    def run(self) -> None:
        """Forward until the agent ends, or nothing was forwarded for IDLE_MS."""
        self._epoll.register(self._alive, select.EPOLLIN)
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        while True:
            ready = self._epoll.poll(IDLE_MS / 1000)
            if not ready and not self._pairs:
                return
            for fd, _ in ready:
                if fd == self._alive:
                    return
                if fd == self._listener.fileno():
                    self._accept()
                elif fd in self._pairs:
                    self._step(self._pairs[fd])

    def _accept(self) -> None:
        try:
            # The module in C has no other name for it; `socket` would have to be imported.
            accepted = self._listener._accept()  # pyright: ignore  # noqa: SLF001, PGH003
            fd = int(accepted[0])  # pyright: ignore[reportUnknownArgumentType]
        except OSError:
            return  # another took it, or it has ended
        program = _socket.socket(fileno=fd)
        service = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        service.setblocking(False)
        try:
            service.connect(self._path)  # at once, or BlockingIOError: too many wait there
        except OSError:
            program.close()
            service.close()
            return
        pair = Pair(program, service)
        for one in pair.sockets:
            one.setblocking(False)
            self._pairs[one.fileno()] = pair
        self._step(pair)
        if len(self._pairs) >= 2 * CONNECTIONS:
            self._is_full = True
            self._epoll.unregister(self._listener.fileno())

    def _step(self, pair: Pair) -> None:
        for half in pair.halves:
            half.step()
        if pair.is_over:
            self._close(pair)
            return
        for one in pair.sockets:
            fd = one.fileno()
            wanted, now = pair.events(fd), self._registered.get(fd)
            if not wanted and now is not None:
                # An end that was reported already is reported again and again to whoever stays registered.
                self._epoll.unregister(fd)
                del self._registered[fd]
            elif wanted and now is None:
                self._epoll.register(fd, wanted)
                self._registered[fd] = wanted
            elif wanted and wanted != now:
                self._epoll.modify(fd, wanted)
                self._registered[fd] = wanted

    def _close(self, pair: Pair) -> None:
        for one in pair.sockets:
            fd = one.fileno()
            del self._pairs[fd]
            if self._registered.pop(fd, None) is not None:
                self._epoll.unregister(fd)
        pair.close()
        if self._is_full:
            self._is_full = False
            self._epoll.register(self._listener.fileno(), select.EPOLLIN)
