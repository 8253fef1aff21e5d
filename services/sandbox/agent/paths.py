"""Paths as the model writes them, and links, made into paths below the workspace. Opens nothing for reading."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

LINKS: Final = 40
"""Most links of one path, as in Linux (path_resolution(7))."""

HOME: Final = ".holdfast/home"
"""The home directory, `~` in a path, below the workspace."""


def lexical(path: str, root: str) -> str | None:
    """The model's `path` as one below the folder `root`, without `.` and `..`; None if it lies outside.

    It may be absolute, relative to `root`, or begin with `~/`.
    """
    if path == "~" or path.startswith("~/"):
        path = f"{root}/{HOME}{path[1:]}"
    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{root}/{path}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    folder = [part for part in root.split("/") if part]
    if parts[: len(folder)] != folder:
        return None
    return "/".join(parts[len(folder) :]) or "."


def without_links(relative: str, root: str, link_target: Callable[[str], str | None]) -> str:
    """`relative` with every link in it followed, absolute ones too if they lead below `root`. Raises OSError.

    `link_target` gives the target of the link at a path below the root; None for anything else, also for nothing.
    """
    done: list[str] = []
    left = relative.split("/")[::-1]
    links = 0
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            if not done:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), relative)
            done.pop()
            continue
        target = link_target("/".join([*done, name]))
        if target is None:
            done.append(name)
            continue
        links += 1
        if links > LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), relative)
        if target.startswith("/"):
            if target != root and not target.startswith(f"{root}/"):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), relative)
            target, done = target[len(root) :], []
        left += target.split("/")[::-1]
    return "/".join(done) or "."


def link_target(fd: int) -> str | None:
    """The target of the link that `fd` stands for (O_PATH | O_NOFOLLOW); None if it is no link."""
    return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
