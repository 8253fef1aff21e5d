"""Copies a folder of the user into the workspace of a new session, which is a folder of the same machine."""

import hashlib
import os
import shutil
import stat

from holdfast.cli.client.files import trees
from holdfast.cli.client.files.base import Base, Manifest
from holdfast.cli.client.files.copy_plan import MAX_BYTES, CannotCopy, CopyPlan
from holdfast.cli.client.files.trees import Entry
from holdfast.cli.sanitize import clean_line


def copy_in(made: CopyPlan, base: Base) -> None:
    """Copy the planned files into the workspace, which must be empty, and into the base of the session.

    Raises CannotCopy when a file changed or vanished since it was planned, or when the disk is full.
    """
    manifest = Manifest(source=str(made.source))
    manifest.left_out = [path for paths in made.left_out.values() for path in paths]
    try:
        base.remove_stale()
        if base.workspace.is_dir() and any(base.workspace.iterdir()):
            raise CannotCopy(f"the workspace {base.workspace} is not empty; --dir is for a new session")
        base.workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in made.folders:
            (base.workspace / path).mkdir(exist_ok=True)
        with trees.opened(made.source) as top:
            for path in made.files:
                manifest.entries[path] = _copy(top, path, base)
        base.write(manifest)
    except trees.Unreadable as exc:
        raise CannotCopy(f"the folder changed while it was copied: {exc}") from None
    except OSError as exc:
        raise CannotCopy(f"cannot copy: {exc.strerror} ({clean_line(str(exc.filename))})") from None


def _copy(top: int, path: str, base: Base) -> Entry:
    """Copy one file or link into the workspace and into the base. Raises Unreadable, OSError."""
    target = base.workspace / path
    target.parent.mkdir(parents=True, exist_ok=True)
    name = path.rpartition("/")[2]
    part = base.new_blob()
    with trees.parent_of(top, path) as folder:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            pointed = os.fsencode(trees.target_of(name, folder))
            part.write_bytes(pointed)
            target.symlink_to(os.fsdecode(pointed))
            entry = Entry("link", hashlib.sha256(pointed).hexdigest(), False, len(pointed))
            base.keep(part, entry.digest)
            return entry
        digest, size = hashlib.sha256(), 0
        with part.open("wb") as kept:
            for data in trees.chunks(name, folder, MAX_BYTES):
                digest.update(data)
                size += len(data)
                kept.write(data)
    shutil.copyfile(part, target)
    target.chmod(stat.S_IMODE(found.st_mode) & 0o777 | 0o600)
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
    base.keep(part, digest.hexdigest())
    return Entry("file", digest.hexdigest(), bool(found.st_mode & stat.S_IXUSR), size)
