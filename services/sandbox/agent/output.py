"""What a command prints: all of it while it is short; then its beginning, its end, and the rest in a file."""

from __future__ import annotations

import os
import time

from .files import HIDDEN, write_all
from .text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .files import Root

OUTPUT_LIMIT: Final = 100_000
"""Characters of a result; a longer output goes to a file."""

HEAD, TAIL = 20_000, 10_000
"""Bytes shown of an output that went to a file."""

FILE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of one output kept in a file."""

FILES: Final = 20
"""Outputs kept; the oldest makes room."""


class Output:
    """Takes any amount in little memory."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0
        self._long = False
        self._path = ""
        self._file = -1
        self._kept = 0

    def add(self, data: bytes | bytearray) -> None:
        self._total += len(data)
        if not self._long:
            self._head += data
            if len(self._head) > OUTPUT_LIMIT:
                self._long = True
                self._path, self._file = _new_file(self._root)
                self._keep(self._head)
                self._tail = self._head[HEAD:]
                del self._head[HEAD:]
            return
        self._keep(data)
        self._tail += data
        if len(self._tail) > 4 * TAIL:
            del self._tail[:-TAIL]

    def _keep(self, data: bytes | bytearray) -> None:
        data = data[: FILE_LIMIT - self._kept]
        if self._file < 0 or not data:
            return
        try:
            write_all(self._file, data)
            self._kept += len(data)
        except OSError:
            self._close()  # the disk is full: what was kept so far stays

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def text(self) -> str:
        """What to show. Nothing may be added afterwards."""
        self._close()
        if not self._long:
            whole = clean(self._head, terminal=True)
            if len(whole) <= OUTPUT_LIMIT:
                return whole
            return f"{whole[:HEAD]}\n\n... [control characters made this too long: cut] ...\n\n{whole[-TAIL:]}"
        tail = self._tail[-TAIL:]
        left_out = self._total - len(self._head) - len(tail)
        what = "the whole output is" if self._kept == self._total else f"its first {self._kept} bytes are"
        where = f"{what} in {self._root.shown(self._path)}" if self._kept else "it could not be kept"
        note = f"\n\n... [{left_out} of {self._total} bytes of output left out here; {where}] ...\n\n"
        return clean(self._head, terminal=True)[:HEAD] + note + clean(tail, terminal=True)[-TAIL:]


def _new_file(root: Root) -> tuple[str, int]:
    """A fresh file as (path below the root, descriptor); the descriptor is -1 when there can be none."""
    folder = f"{HIDDEN}/outputs"
    path = f"{folder}/{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}.txt"
    try:
        root.make_parents(path)
        fd = root.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in sorted(os.listdir(fd))[: -FILES + 1]:  # noqa: PTH208  a descriptor
                os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)
        return path, root.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except OSError:
        return path, -1
