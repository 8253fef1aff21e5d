"""The size of a workspace. A folder of the host has no quota of its own, so it is measured while the sandbox runs.

Folders are entered by descriptor, links are not followed, and no path is looked up twice, so that the measurement stays
inside the workspace whatever the sandbox renames or replaces meanwhile.
"""

import contextlib
import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Final

import msgspec

DEPTH_LIMIT: Final = 200
"""Levels of folders that are entered; each level holds a descriptor. Deeper nesting is a breach of the quota."""

GROWTH_BYTES: Final = 64 << 20
GROWTH_FILES: Final = 1000
"""Bytes and files that a sandbox may add to a workspace that is over its quota at the start."""

SCARCE_GROWTH_BYTES: Final = 32 << 20
SCARCE_GROWTH_FILES: Final = 500
"""Most bytes and files by which a workspace may grow while the disk of the host is nearly full; and a sixteenth of the
reserve at most."""

NO_LIMIT: Final = 1 << 60
"""Free inodes of a file system that makes them as they are needed."""


class Space(msgspec.Struct, frozen=True):
    """What an ordinary user can still add to a file system: bytes, and files and folders (inodes)."""

    size: int
    files: int


class Use(msgspec.Struct, frozen=True):
    """Bytes on the disk and files and folders of a workspace; `deep`: nested deeper than DEPTH_LIMIT."""

    size: int = 0
    files: int = 0
    deep: bool = False

    def __add__(self, other: "Use") -> "Use":
        return Use(self.size + other.size, self.files + other.files, self.deep or other.deep)


class Quota(msgspec.Struct, frozen=True):
    """Most bytes, and files and folders, of a workspace; bytes and inodes that must stay free on the host's disk."""

    size: int
    files: int
    reserve: int = 0
    reserve_files: int = 0

    def with_room(self, use: Use) -> "Quota":
        """The quota of a sandbox that starts with `use`: over the limit it may still delete files, but grow little."""
        size, files = max(self.size, use.size + GROWTH_BYTES), max(self.files, use.files + GROWTH_FILES)
        return Quota(size, files, self.reserve, self.reserve_files)

    def breach(self, use: Use) -> str:
        """Why the sandbox must be ended; empty if it may go on."""
        if use.size > self.size:
            return f"its files went over the limit of {self.size >> 20} MiB"
        if use.files > self.files:
            return f"it made more than {self.files} files"
        if use.deep:
            return f"it nested folders deeper than {DEPTH_LIMIT}"
        return ""

    def is_scarce(self, space: Space) -> bool:
        """Whether less than the reserve is free on the disk of the host."""
        return 0 < self.reserve > space.size or 0 < self.reserve_files > space.files

    def growth(self, before: Use, now: Use, space: Space) -> str:
        """Why a sandbox whose workspace has grown must be ended while the disk is scarce; empty if it may go on.

        One that has not grown may go on: its end would free nothing.
        """
        if 0 < self.reserve > space.size and now.size - before.size > min(SCARCE_GROWTH_BYTES, self.reserve // 16):
            missing = "space"
        elif 0 < self.reserve_files > space.files and now.files - before.files > min(
            SCARCE_GROWTH_FILES, self.reserve_files // 16
        ):
            missing = "room for files"
        else:
            return ""
        return f"the disk of the host is nearly full: it has little {missing} left, and this sandbox took more of it"


def measure(path: Path, quota: Quota) -> Use:
    """The use of the folder `path`; counting stops as soon as it is over `quota`. Blocks: call it in a thread.

    Raises OSError if a part of it cannot be read, and so not be limited.
    """
    size = files = 0
    counted_inodes: set[int] = set()
    with contextlib.closing(_walk(_open_folder(None, str(path)))) as entries:
        for info, depth in entries:
            is_folder = stat.S_ISDIR(info.st_mode)
            files += 1
            # The blocks of a file with several hard links count once.
            if is_folder or info.st_nlink == 1 or info.st_ino not in counted_inodes:
                size += info.st_blocks * 512
            if not is_folder and info.st_nlink > 1:
                counted_inodes.add(info.st_ino)
            if size > quota.size or files > quota.files:
                break
            if is_folder and depth > DEPTH_LIMIT:
                return Use(size, files, deep=True)
    return Use(size, files)


_REPLACED: Final = (FileNotFoundError, NotADirectoryError)
"""Errors at the opening of a folder that was removed since it was listed, or replaced by a file or link."""


def _walk(root: int) -> Generator[tuple[os.stat_result, int], None, None]:
    """Each file and folder below `root`, with its depth from 1 on. Closes `root`. Entries that vanish are skipped."""
    stack = [(root, os.scandir(root))]
    try:
        while stack:
            fd, entries = stack[-1]
            entry = next(entries, None)
            if entry is None:
                entries.close()
                os.close(stack.pop()[0])
                continue
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed since it was listed
            yield info, len(stack)
            if stat.S_ISDIR(info.st_mode):
                try:
                    below = _open_folder(fd, entry.name)
                except _REPLACED:
                    continue
                stack.append((below, os.scandir(below)))
    finally:
        for fd, entries in stack:
            entries.close()
            os.close(fd)


def _open_folder(parent: int | None, name: str) -> int:
    """Open the folder `name` in the folder `parent` (None: it is a path). Raises OSError.

    An unreadable folder is made readable: the sandbox has our user id on the host, and could hide files in it.
    """
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, os.O_RDONLY | flags, dir_fd=parent)
    except PermissionError:
        handle = os.open(name, os.O_PATH | flags, dir_fd=parent)
        try:
            # By descriptor: a path could be replaced by a link to a folder of the host.
            os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101  pathlib would resolve the link
            return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        finally:
            os.close(handle)


def free(path: Path) -> Space:
    """What an ordinary user can still add to the disk of `path`. Raises OSError."""
    found = os.statvfs(path)
    return Space(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else NO_LIMIT)
