"""The program of a helper: runs file tools, one call after the other, until the agent closes the socket to it.

A frame in is that of the service, as the agent got it. A frame out is a list: the content blocks, whether they are an
error, and whether the helper will do for another call. An exception that no tool should raise ends the helper.
"""

from __future__ import annotations

import gc
import os
import signal

from .bash_process import OPEN_FILES
from .files import write_all
from .frames import FRAME_BYTES, FrameReader, decode, encode
from .inputs import ToolError
from .processes import after_fork
from .text import error_block, text_block
from .tools import FILE_TOOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

    from .files import Root

CALLS: Final = 1000
"""Calls that one helper runs: an end to whatever is not noticed otherwise."""

GROWTH_BYTES: Final = 8 * 1024 * 1024
"""Memory that a helper may have more than at its start to be used again; a fork costs less than to keep it."""

CHUNK_BYTES: Final = 1 << 18
"""Bytes of one read."""


def run_helper(fd: int, root: Root) -> NoReturn:
    """The forked process. `fd` is its end of the socket pair."""
    status = 1
    try:
        os.setsid()
        after_fork()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that is too large becomes an error (EFBIG)
        _close_all_but(fd, root.fd)
        gc.freeze()  # a collection would write to the objects of the agent, and so copy their pages
        _serve(fd, root)
        status = 0
    finally:
        os._exit(status)


def _close_all_but(*kept: int) -> None:
    """Close the agent's streams: the helper outlives the call for which it was forked, and they must end without it."""
    for fd in (0, 1):
        os.dup2(2, fd)  # /dev/null
    low, high = sorted(kept)
    os.closerange(3, low)
    os.closerange(low + 1, high)
    os.closerange(high + 1, OPEN_FILES)


def _serve(fd: int, root: Root) -> None:
    frames = FrameReader(FRAME_BYTES)
    usage = Usage()
    while data := os.read(fd, CHUNK_BYTES):
        frames.add(data)
        frame = frames.next()
        if frame is not None:
            del data
            _answer(fd, root, frame, usage)
            del frame  # nothing of a call stays while the helper waits for the next


def _answer(fd: int, root: Root, frame: bytes, usage: Usage) -> None:
    fields = decode(frame)
    name: str = fields["name"]
    try:
        content, is_error = FILE_TOOLS[name](root, fields["input"]), False
    except ToolError as exc:
        content, is_error = [error_block(str(exc))], True
    except MemoryError:
        write_all(fd, encode([[text_block(f"{name}: out of memory")], True, False]))
        return
    write_all(fd, encode([content, is_error, usage.after_a_call()]))


class Usage:
    """What the helper has used since it was made."""

    def __init__(self) -> None:
        self._calls = 0
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._pages = self._anonymous_pages()
        self._next_fd = _next_fd()

    def after_a_call(self) -> bool:
        """Whether the helper will do for another call: it is not worn out, and the call left nothing behind."""
        self._calls += 1
        grown_bytes = (self._anonymous_pages() - self._pages) * _PAGE_BYTES
        return self._calls < CALLS and grown_bytes <= GROWTH_BYTES and _next_fd() == self._next_fd

    def _anonymous_pages(self) -> int:
        """Pages of memory that are not those of files, such as libraries (proc(5), `statm`)."""
        _, resident, shared = os.pread(self._statm, 64, 0).split()[:3]
        return int(resident) - int(shared)


_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def _next_fd() -> int:
    """The number of the next descriptor; it rises if a call leaves one open."""
    fd = os.dup(0)
    os.close(fd)
    return fd
