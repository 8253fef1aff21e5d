"""The output of a command: shown whole if it is short, else its beginning and end, and the whole in a file."""

from __future__ import annotations

import os
import time

from .files import HIDDEN, write_all
from .text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .files import Root

OUTPUT_CHARS: Final = 100_000
"""Most characters of a result; a longer output goes to a file."""

HEAD_BYTES, TAIL_BYTES = 20_000, 10_000
"""Bytes shown of the beginning and of the end of an output that went to a file."""

FILE_BYTES: Final = 16 * 1024 * 1024
"""Bytes of one output that are stored in its file."""

OUTPUT_FILES: Final = 20
"""Most files of outputs; the oldest is removed for a new one."""


class Output:
    """Collects the output of one command, of any length in little memory."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0
        self._long = False
        self._path = ""
        self._file = -1
        self._stored = 0

    def add(self, data: bytes | bytearray) -> None:
        self._total += len(data)
        if not self._long:
            self._head += data
            if len(self._head) > OUTPUT_CHARS:
                self._long = True
                self._path, self._file = _new_file(self._root)
                self._store(self._head)
                self._tail = self._head[HEAD_BYTES:]
                del self._head[HEAD_BYTES:]
            return
        self._store(data)
        self._tail += data
        if len(self._tail) > 4 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]

    def _store(self, data: bytes | bytearray) -> None:
        data = data[: FILE_BYTES - self._stored]
        if self._file < 0 or not data:
            return
        try:
            write_all(self._file, data)
            self._stored += len(data)
        except OSError:
            self._close()  # the disk is full; the file keeps what it has

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def text(self) -> str:
        """The text to show. Nothing may be added afterwards."""
        self._close()
        if not self._long:
            whole = clean(self._head, terminal=True)
            if len(whole) <= OUTPUT_CHARS:
                return whole
            return (
                f"{whole[:HEAD_BYTES]}\n\n... [control characters made this too long: cut] ...\n\n{whole[-TAIL_BYTES:]}"
            )
        tail = self._tail[-TAIL_BYTES:]
        left_out = self._total - len(self._head) - len(tail)
        stored = "the whole output is" if self._stored == self._total else f"its first {self._stored} bytes are"
        where = f"{stored} in {self._root.shown(self._path)}" if self._stored else "it could not be kept"
        note = f"\n\n... [{left_out} of {self._total} bytes of output left out here; {where}] ...\n\n"
        return clean(self._head, terminal=True)[:HEAD_BYTES] + note + clean(tail, terminal=True)[-TAIL_BYTES:]


def _new_file(root: Root) -> tuple[str, int]:
    """A new file as (path below the root, descriptor); the descriptor is -1 if it cannot be made."""
    folder = f"{HIDDEN}/outputs"
    path = f"{folder}/{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}.txt"
    try:
        root.make_parents(path)
        fd = root.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in sorted(os.listdir(fd))[: -OUTPUT_FILES + 1]:  # noqa: PTH208  pathlib has no descriptors
                os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)
        return path, root.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except OSError:
        return path, -1
