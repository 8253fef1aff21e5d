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


class Use(msgspec.Struct, frozen=True):
    """Bytes on the disk and files and folders of a workspace; `deep`: nested deeper than DEPTH_LIMIT."""

    size: int = 0
    files: int = 0
    deep: bool = False


class Quota(msgspec.Struct, frozen=True):
    """Most bytes, and files and folders, of a workspace; bytes that must stay free on the host's disk."""

    size: int
    files: int
    reserve: int

    def with_room(self, use: Use) -> "Quota":
        """The quota of a sandbox that starts with `use`: over the limit it may still delete files, but grow little."""
        return Quota(max(self.size, use.size + GROWTH_BYTES), max(self.files, use.files + GROWTH_FILES), self.reserve)

    def breach(self, use: Use, free: int) -> str:
        """Why the sandbox must be ended; empty if it may go on. `free` is the free space of the disk (bytes)."""
        if use.size > self.size:
            return f"its files went over the limit of {self.size >> 20} MiB"
        if use.files > self.files:
            return f"it made more than {self.files} files"
        if use.deep:
            return f"it nested folders deeper than {DEPTH_LIMIT}"
        if free < self.reserve:
            return "the disk of the host is nearly full"
        return ""


def measure(path: Path, quota: Quota) -> Use:
    """The use of the folder `path`; counting stops as soon as it is over `quota`. Blocks: call it in a thread."""
    try:
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return Use()
    size = files = 0
    counted_inodes: set[int] = set()
    with contextlib.closing(_walk(root)) as entries:
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
            except OSError:
                continue  # removed since it was listed
            yield info, len(stack)
            if stat.S_ISDIR(info.st_mode):
                try:
                    below = _open_folder(fd, entry.name)
                except OSError:
                    continue  # removed, or replaced by something else, since it was listed
                stack.append((below, os.scandir(below)))
    finally:
        for fd, entries in stack:
            entries.close()
            os.close(fd)


def _open_folder(parent: int, name: str) -> int:
    """Open the folder `name`. Raises OSError.

    An unreadable folder is made readable: the sandbox has our user id on the host, and could hide files in it.
    """
    flags = os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, os.O_RDONLY | flags, dir_fd=parent)
    except PermissionError:
        handle = os.open(name, os.O_PATH | flags, dir_fd=parent)
        try:
            # By descriptor: a path could be replaced by a link to a folder of the host.
            os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101  pathlib would resolve the link
            return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY)
        finally:
            os.close(handle)


def free(path: Path) -> int:
    """Bytes that an ordinary user can still write on the disk of `path`."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
