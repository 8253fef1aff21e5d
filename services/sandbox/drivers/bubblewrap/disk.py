"""How much a workspace holds. A folder of the host has no quota of its own, so it is measured while the sandbox works.

Only descriptors are followed, never links and never a path twice, so nothing the sandbox swaps meanwhile leads outside.
"""

import os
import stat
from pathlib import Path
from typing import Final

import msgspec

DEPTH: Final = 200
"""Folders inside one another that are followed; deeper counts as over the limit, since it cannot be measured."""


class Use(msgspec.Struct, frozen=True):
    """Bytes on the disk and entries of a workspace; `deep`: folders are nested deeper than DEPTH."""

    size: int = 0
    files: int = 0
    deep: bool = False


class Quota(msgspec.Struct, frozen=True):
    """What a workspace may hold, and what must stay free on the host's disk (bytes)."""

    size: int
    files: int
    reserve: int

    def with_room(self, use: Use) -> "Quota":
        """For a sandbox that begins with `use`: who starts over the limit may still tidy up, but not grow by much."""
        return Quota(max(self.size, use.size + (64 << 20)), max(self.files, use.files + 1000), self.reserve)

    def breach(self, use: Use, free: int) -> str:
        """Why the sandbox must end, or nothing."""
        if use.size > self.size:
            return f"its files went over the limit of {self.size >> 20} MiB"
        if use.files > self.files:
            return f"it made more than {self.files} files"
        if use.deep:
            return f"it nested folders deeper than {DEPTH}"
        if free < self.reserve:
            return "the disk of the host is nearly full"
        return ""


def measure(path: Path, quota: Quota) -> Use:  # noqa: C901  one walk, on purpose
    """What is in the folder `path`; counting stops once `quota` is passed. Blocks: for a thread of its own."""
    try:
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return Use()
    size = files = 0
    deep = False
    linked: set[int] = set()
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
                continue  # removed while we looked
            files += 1
            if info.st_nlink == 1 or stat.S_ISDIR(info.st_mode) or info.st_ino not in linked:
                size += info.st_blocks * 512
            if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                linked.add(info.st_ino)
            if size > quota.size or files > quota.files:
                break
            if stat.S_ISDIR(info.st_mode):
                if len(stack) > DEPTH:
                    deep = True
                    break
                try:
                    below = _opened(fd, entry.name)
                except OSError:
                    continue  # removed or swapped meanwhile
                stack.append((below, os.scandir(below)))
    finally:
        for fd, entries in stack:
            entries.close()
            os.close(fd)
    return Use(size, files, deep)


def _opened(above: int, name: str) -> int:
    """The folder `name`. One that its owner, which is us, may write but not read is opened up: nothing may hide."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, os.O_RDONLY | flags, dir_fd=above)
    except PermissionError:
        held = os.open(name, os.O_PATH | flags, dir_fd=above)
        try:
            # By descriptor: a path could be swapped for a link to a folder of the host.
            os.chmod(f"/proc/self/fd/{held}", 0o700)  # noqa: PTH101
            return os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_DIRECTORY)
        finally:
            os.close(held)


def free(path: Path) -> int:
    """Bytes that the disk of `path` can still take."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
