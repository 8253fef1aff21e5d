"""A fork server: a process that has loaded the modules of a service and forks a process of the service for each order.

`holdfast up` runs several harnesses, and starts them again when they die. Their modules take more than a second of
processor time and 60 MB; from one fork server they are loaded once, and their memory is shared as long as nobody writes
to it. The service itself is the server if FORK_FD names a socket (SOCK_SEQPACKET) in its environment.

A fork is no child of the server but of the process that gave the order, so it lives on when the server ends: the fork
happens twice, the process in between ends at once, and its child gets the nearest ancestor that adopts orphans as its
parent (`prctl(2)`, PR_SET_CHILD_SUBREAPER). Until that process says go, the fork waits (`process.go`).
"""

import contextlib
import gc
import os
import socket
import sys
import time
from typing import Final

import msgspec

from holdfast.process import faults
from holdfast.process.known_settings import FORK_FD, GO_FD
from holdfast.process.parent_death import end_with_parent

MAX_ORDER_BYTES: Final = 128 * 1024
"""Most bytes of an order: the environment is nearly all of it. A larger one does not fit into one message."""

LOADED: Final = b"loaded"
"""First message of a server: all modules are loaded."""

_parent: Final[list[int]] = []
"""The process that ordered this one; empty if it is no fork."""


class Order(msgspec.Struct, frozen=True):
    """What the new process gets: its whole environment, its working folder, and the process that becomes its parent.

    Two descriptors come with it: that of the log, and that of the pipe on which the go is said.
    """

    env: dict[str, str]
    folder: str
    parent: int


def is_wanted() -> bool:
    """Whether this process was started as a fork server."""
    return FORK_FD in os.environ


def serve() -> None:
    """Return in each fork. The server itself ends here, when the process that gives the orders has ended.

    The garbage collector is to be off since before the modules were loaded (documentation of `gc.freeze`); it is on in
    the forks. First the server sends LOADED. Each order is answered with the process id of the fork in decimal digits;
    `0` if there is no room for a process.
    """
    orders = socket.socket(fileno=int(os.environ.pop(FORK_FD)))
    gc.freeze()  # a collection in a fork would write to all objects, and so copy their memory
    orders.send(LOADED)
    while True:
        data, descriptors, _, _ = socket.recv_fds(orders, MAX_ORDER_BYTES, 2)
        if not data:
            sys.exit(0)
        pid = _fork()
        if pid is None:
            orders.close()
            _become(msgspec.json.decode(data, type=Order), *descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(BrokenPipeError):  # it has ended; the next read says so
            orders.send(str(pid).encode())


def _fork() -> int | None:
    """Fork twice. Returns None in the new process, and its process id in this one; 0 if it could not be made."""
    reading, writing = os.pipe()
    try:
        between = os.fork()
        if not between:
            _fork_and_exit(writing)
            return None
        os.close(writing)
        writing = -1
        number = os.read(reading, 20)
        os.waitpid(between, 0)  # after this the new process has its new parent
        return int(number or 0)
    except OSError:
        return 0
    finally:
        for end in (reading, writing):
            if end >= 0:
                os.close(end)


def _fork_and_exit(writing: int) -> None:
    """In the process in between: fork, write the process id of the child and exit. Returns in the child alone."""
    try:
        pid = os.fork()
    except OSError:
        os._exit(1)
    if pid:
        os.write(writing, str(pid).encode())
        os._exit(0)


def _become(order: Order, log: int, go: int) -> None:
    """Make this fork the process of the order, as if it had been started with this environment."""
    gc.enable()
    os.setsid()
    os.chdir(order.folder)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, log, log)):
        os.dup2(descriptor, number)
    for descriptor in (nothing, log):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order.env)
    os.environ[GO_FD] = str(go)
    time.tzset()
    faults.arm()
    _parent.append(order.parent)


def end_with_orderer() -> None:
    """In a fork that was told to go: from now on it is killed when the process that ordered it ends.

    Not earlier: before the go its parent may be the process in between, and would take it along. Until then the end of
    the pipe ends it.
    """
    if _parent:
        end_with_parent(_parent[0])
