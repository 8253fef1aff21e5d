"""Where the files of a session are in its sandbox: the rules of `mount_path`. Pure."""

import posixpath
import re
from collections.abc import Sequence
from typing import Final

from holdfast.bus.uploads import UPLOADS
from holdfast.session.http.errors import invalid

MAX_PATH_BYTES: Final = 1024
"""Longest path below UPLOADS in UTF-8: the kernel takes 4,096 for a whole path, and the host has a prefix of its own."""

MAX_PART_BYTES: Final = 255
"""Longest name of a file or folder in UTF-8."""

MAX_FILES: Final = 500
"""Files of one session."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def mount_path(given: str | None, file_id: str, at: str) -> str:
    """The absolute path of a file in the sandbox. Raises ApiError 400, whose text begins with the field `at`.

    A path that is not below UPLOADS, relative or absolute, is taken as one below it. Without one it is the file's id.
    """
    if given is None:
        return f"{UPLOADS}/{file_id}"
    if _CONTROL.search(given):
        raise invalid(f"{at}: must not contain control characters")
    parts = [part for part in given.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise invalid(f"{at}: must not contain `..`")
    root = UPLOADS.strip("/").split("/")
    if given.startswith("/") and parts[: len(root)] == root:
        parts = parts[len(root) :]
    if not parts or given.endswith("/"):
        raise invalid(f"{at}: must name a file, such as {UPLOADS}/data.csv")
    if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise invalid(f"{at}: a name in it is longer than {MAX_PART_BYTES} bytes in UTF-8")
    below = "/".join(parts)
    if len(below.encode()) > MAX_PATH_BYTES:
        raise invalid(f"{at}: longer than {MAX_PATH_BYTES} bytes in UTF-8")
    return f"{UPLOADS}/{below}"


def check_apart(paths: Sequence[str], at: str) -> None:
    """Raise ApiError 400 if two of the paths are equal, or one would be a folder and a file."""
    taken: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        above = _folders_of(path)
        if path in taken or path in folders or taken & above:
            raise invalid(f"{at}: {path} overlaps another one")
        taken.add(path)
        folders |= above


def _folders_of(path: str) -> set[str]:
    """All folders between UPLOADS and the file."""
    found: set[str] = set()
    folder = posixpath.dirname(path)
    while folder != UPLOADS:
        found.add(folder)
        folder = posixpath.dirname(folder)
    return found
