"""Lists the files and folders below a folder of the workspace, and says what could not be listed."""

from __future__ import annotations

import errno
import os
import stat

from .files import HIDDEN, joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from .files import Root

BULKY: Final = frozenset({".git", "node_modules"})
"""Names of folders that hold many files which people seldom look for."""

_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors of a folder that was removed or replaced since it was listed."""


class Walk:
    """Yields each file and folder below `relative` as (path from there, status). Links are not followed.

    The agent's own folder is left out. Bulky folders come last, so that they take no time from the others; `skip_bulky`
    leaves them out. Raises OSError if `relative` itself cannot be opened as a folder.
    """

    def __init__(self, root: Root, relative: str, *, skip_bulky: bool = False) -> None:
        os.close(root.open(relative, os.O_RDONLY | os.O_DIRECTORY))
        self._root, self._relative, self._skip_bulky = root, relative, skip_bulky
        self._folders, self._bulky = [""], list[str]()
        self.skipped: set[str] = set()
        """Names of the bulky folders that were left out."""
        self.unreadable: list[str] = []
        """Folders that could not be listed, as paths from there."""

    def __iter__(self) -> Iterator[tuple[str, os.stat_result]]:
        while self._folders or self._bulky:
            prefix = self._folders.pop() if self._folders else self._bulky.pop()
            in_bulky = is_bulky(prefix)
            for name, info in self._entries(prefix):
                path = joined(prefix, name)
                if not stat.S_ISDIR(info.st_mode):
                    yield path, info
                    continue
                if self._relative == "." and path == HIDDEN:
                    continue
                bulky = name in BULKY
                if bulky and self._skip_bulky:
                    self.skipped.add(name)
                    continue
                yield path, info
                (self._bulky if bulky or in_bulky else self._folders).append(path)

    def _entries(self, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        try:
            fd = self._root.open(joined(self._relative, prefix), os.O_RDONLY | os.O_DIRECTORY)
        except OSError as exc:
            if exc.errno not in _GONE:
                self.unreadable.append(prefix)
            return
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    try:
                        yield entry.name, entry.stat(follow_symlinks=False)
                    except OSError:
                        continue  # removed since it was listed
        finally:
            os.close(fd)


def is_bulky(path: str) -> bool:
    """Whether the path lies in a bulky folder."""
    return not BULKY.isdisjoint(path.split("/"))


def unreadable_note(folders: list[str]) -> str:
    """A sentence on folders that could not be listed; empty for none."""
    if not folders:
        return ""
    first = folders[0] if len(folders[0]) <= 200 else folders[0][:200] + "..."
    more = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
    return f"folders that could not be listed: {first or '.'}{more}"
