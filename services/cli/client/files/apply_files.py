"""Brings the changes of a session into a folder of the user: all of them or none.

A file is written only if it is as it was when it was copied, or as an earlier apply left it. Contents are read from the
workspace once and checked before they are written. In the user's folder no link is followed, `.git` and all files that
were not copied stay untouched, and no link is made that leads out of the folder.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.files import trees
from holdfast.cli.client.files.changes import CannotCompare, Change, Changes
from holdfast.cli.client.files.copy_plan import leads_outside
from holdfast.cli.client.files.transaction import Step, Transaction, same
from holdfast.cli.client.files.trees import Entry, Unreadable
from holdfast.cli.sanitize import clean_line

NAMED_FILES: Final = 20
"""Files that a refusal names."""


class CannotApply(CannotDo):
    """Nothing was changed in the folder; the text says why."""


class Applied(msgspec.Struct, frozen=True):
    """The paths that `apply` wrote and removed. Paths that already had the content of the agent are in neither list."""

    written: list[str]
    removed: list[str]


def steps(found: Changes, folder: str) -> list[Step]:
    """The steps that bring the changes into `folder`, removals first. Reads no file."""
    applied = found.manifest.applied.get(folder, {})
    made: dict[str, Step] = {}

    def add(path: str, want: Entry | None, before: Entry | None, content: Callable[[], bytes]) -> None:
        expected = (before, applied[path]) if path in applied else (before,)
        made[path] = Step(path, want, expected, content)

    for change in found.items:
        if change.kind in ("removed", "renamed"):
            add(change.old_path, None, change.before, bytes)
    for change in found.items:
        if change.kind != "removed":
            before = None if change.kind == "renamed" else change.before
            add(change.path, change.after, before, lambda change=change: found.new(change))
    for path in applied.keys() - made.keys() - found.unread.keys() - set(found.ignored):  # undone by the agent
        base = found.manifest.entries.get(path)
        back = Change(kind="changed", path=path, old_path=path, before=base)
        add(path, base, base, lambda back=back: found.old(back))
    return sorted(made.values(), key=lambda step: (step.want is not None, step.path))


def apply_changes(found: Changes, folder: Path) -> Applied:
    """Bring all changes into the folder.

    Raises CannotApply with the files that prevent it; then nothing was changed.
    """
    try:
        real = folder.resolve(strict=True)
        with trees.opened(real) as top:
            todo = _check(steps(found, str(real)), top)
            with Transaction(top) as work:
                for step in todo:
                    work.prepare(step)
                for step in todo:
                    work.commit(step)
    except (OSError, RuntimeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        raise CannotApply(f"nothing was changed in {clean_line(str(folder))}: {why}") from None
    except (Unreadable, CannotCompare) as exc:
        raise CannotApply(f"nothing was changed in {clean_line(str(folder))}: {exc}") from None
    _remember(found, str(real), todo)
    return Applied(
        written=[step.path for step in todo if step.want is not None],
        removed=[step.path for step in todo if step.want is None],
    )


def _remember(found: Changes, folder: str, todo: list[Step]) -> None:
    applied = found.manifest.applied.setdefault(folder, {})
    applied.update({step.path: step.want for step in todo})
    found.base.write(found.manifest)


def _check(todo: list[Step], top: int) -> list[Step]:
    """The steps that would change something. Raises CannotApply with all files that prevent it."""
    left: list[Step] = []
    against: list[str] = []
    for step in todo:
        now = trees.entry_at(top, step.path)
        if same(now, step.want):
            continue
        why = _why_not(step, now)
        if why:
            against.append(f"  {clean_line(step.path)}: {why}")
        left.append(step)
    if against:
        more = [f"  … and {len(against) - NAMED_FILES} more"] if len(against) > NAMED_FILES else []
        raise CannotApply(
            "\n".join(
                [
                    "nothing was changed in your folder, because of:",
                    *against[:NAMED_FILES],
                    *more,
                    "Leave them out with --exclude, or write a patch and merge it: holdfast diff SESSION --patch FILE",
                ]
            )
        )
    return left


def _why_not(step: Step, now: Entry | None) -> str:
    if now is not None and now.kind == "unread":
        return now.why
    if not any(same(now, entry) for entry in step.expected):
        if now is None:
            return "you removed it since it was copied"
        return (
            "it is there, but was not copied in" if step.expected == (None,) else "you changed it since it was copied"
        )
    if step.want and step.want.kind == "link" and leads_outside(step.path, os.fsdecode(step.content())):
        return "it is a link that leads out of the folder"
    return ""
