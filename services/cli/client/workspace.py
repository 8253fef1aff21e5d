"""Files for a session of the embedded stack, which shares this machine: a copy goes in, what changed is listed."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MOST_FILES: Final = 20_000
MOST_BYTES: Final = 512 * 1024 * 1024
"""What may be copied in; above that a repository is better cloned in the sandbox."""

SKIPPED: Final = frozenset({".venv", "node_modules", "__pycache__", ".holdfast"})
"""Folders that are made anew from others, and our own."""

Digests = dict[str, str]
"""Content hash of each file by its path in the workspace."""


class CannotCopy(Exception):
    """The folder cannot be given to a session; the text says why."""


def files_below(folder: Path) -> Iterator[Path]:
    """Regular files and symbolic links below `folder`, relative to it. Links are never followed."""
    for top, folders, names in os.walk(folder, followlinks=False):
        here = Path(top)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in SKIPPED and name not in links)
        for name in sorted([*names, *links]):
            path = here / name
            if path.is_symlink() or path.is_file():
                yield path.relative_to(folder)


def seed(source: Path, workspace: Path) -> Digests:
    """Copy `source` into a workspace that is still empty. Raises CannotCopy."""
    if not source.is_dir():
        raise CannotCopy(f"{source} is not a folder")
    paths = list(files_below(source))
    size = sum((source / path).lstat().st_size for path in paths)
    if len(paths) > MOST_FILES or size > MOST_BYTES:
        raise CannotCopy(
            f"{source} has {len(paths)} files and {size // 1024 // 1024} MB; "
            f"at most {MOST_FILES} files and {MOST_BYTES // 1024 // 1024} MB can be copied"
        )
    workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in paths:
        target = workspace / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / path, target, follow_symlinks=False)
    return digests(workspace)


def digests(workspace: Path) -> Digests:
    """What is in the workspace now."""
    found: Digests = {}
    for path in files_below(workspace):
        full = workspace / path
        if full.is_symlink():
            found[str(path)] = f"link {full.readlink()}"
        else:
            with full.open("rb") as file:
                found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def changes(before: Digests, after: Digests) -> list[str]:
    """One line for each file that was added, changed or removed."""
    lines = [f"  changed  {path}" for path in sorted(before.keys() & after.keys()) if before[path] != after[path]]
    lines += [f"  new      {path}" for path in sorted(after.keys() - before.keys())]
    return lines + [f"  removed  {path}" for path in sorted(before.keys() - after.keys())]
