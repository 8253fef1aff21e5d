"""Work of `holdfast apply`: brings the changes of a session into a folder of the user."""

import sys
from pathlib import Path

import msgspec

from holdfast.cli.client.files.apply_files import CannotApply, apply_changes
from holdfast.cli.client.files.changes import Change, Changes, changes, notes
from holdfast.cli.client.files.run_files import applied_text
from holdfast.cli.client.files.selection import matches
from holdfast.cli.client.session_files import session_base
from holdfast.cli.client.target import Target
from holdfast.cli.sanitize import clean_line


async def apply(target: Target, session: str, folder: Path | None, exclude: tuple[str, ...]) -> int:
    """Bring the changes into `folder`; None is the folder that was copied into the session. Returns the exit code.

    Raises UnknownSession, CannotCompare and CannotApply.
    """
    status, base = await session_base(target, session)
    if status in ("running", "rescheduling"):
        raise CannotApply("the agent is at work in this session; wait until it is idle, or interrupt it")
    found = changes(base)
    into = folder or Path(found.manifest.source)
    if not (folder or found.manifest.source):
        raise CannotApply("nothing was copied into this session with --dir; name the folder with --dir")
    print(applied_text(apply_changes(without(found, exclude), into), into))
    for note in notes(found):
        print(note.strip(), file=sys.stderr)
    return 0


def without(found: Changes, exclude: tuple[str, ...]) -> Changes:
    """The changes without the files that `exclude` matches. Raises CannotApply for a pattern that matches no file."""
    for glob in exclude:
        if not any(matches(glob, change.path) or matches(glob, change.old_path) for change in found.items):
            raise CannotApply(f"'{clean_line(glob)}' of --exclude names no changed file")
    kept: list[Change] = []
    dropped: dict[str, str] = {}
    for change in found.items:
        if any(matches(glob, change.path) or matches(glob, change.old_path) for glob in exclude):
            dropped |= {change.path: "excluded", change.old_path: "excluded"}
        else:
            kept.append(change)
    return msgspec.structs.replace(found, items=kept, unread={**found.unread, **dropped})
