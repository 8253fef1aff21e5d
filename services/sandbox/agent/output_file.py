"""The file that holds the whole output of a command, as it was printed, for a model that wants more than is shown."""

from __future__ import annotations

import contextlib
import os
import time

from .files import HIDDEN, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .files import Root

RAW_BYTES: Final = 256 * 1024
"""Bytes that are kept in memory before there is a file: most outputs need none."""

FILE_BYTES: Final = 16 * 1024 * 1024
"""Most bytes that are stored of one output."""

OUTPUT_FILES: Final = 20
"""Most files of outputs; the oldest is removed for a new one."""

FOLDER: Final = f"{HIDDEN}/outputs"


class OutputFile:
    """Made when the output is known to be long, or has more bytes than are kept in memory."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._unstored = bytearray()
        self._path = ""
        self._fd = -1
        self._total = 0
        self._stored = 0

    def add(self, data: bytes | bytearray) -> None:
        self._total += len(data)
        if self._path:
            self._store(data)
            return
        self._unstored += data
        if len(self._unstored) > RAW_BYTES:
            self.keep()

    def keep(self) -> None:
        """Make the file, unless there is one."""
        if not self._path:
            self._path, self._fd = _new_file(self._root)
            self._store(self._unstored)
            self._unstored = bytearray()

    def drop(self) -> None:
        """Remove the file if there is one: all of the output is shown."""
        if self._path:
            self.close()
            with contextlib.suppress(OSError):
                self._root.remove(self._path)

    def close(self) -> str:
        """Where the output is, or that it is nowhere. Nothing may be added afterwards."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        if not self._stored:
            return "it could not be kept"
        stored = "the whole output is" if self._stored == self._total else f"its first {self._stored} bytes are"
        return f"{stored} in {self._root.shown(self._path)}"

    def _store(self, data: bytes | bytearray) -> None:
        data = data[: FILE_BYTES - self._stored]
        if self._fd < 0 or not data:
            return
        try:
            write_all(self._fd, data)
            self._stored += len(data)
        except OSError:
            os.close(self._fd)  # the disk is full; the file keeps what it has
            self._fd = -1


def _new_file(root: Root) -> tuple[str, int]:
    """A new file as (path below the root, descriptor); the descriptor is -1 if it cannot be made."""
    path = f"{FOLDER}/{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}.txt"
    try:
        root.make_parents(path)
        fd = root.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in sorted(os.listdir(fd))[: -OUTPUT_FILES + 1]:  # noqa: PTH208  pathlib has no descriptors
                os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)
        return path, root.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except OSError:
        return path, -1
