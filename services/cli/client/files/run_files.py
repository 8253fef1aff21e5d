"""The files of one `holdfast run`: checked before the session is made, copied in, and brought back at the end."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from holdfast.cli.client.files import changes, copy_plan
from holdfast.cli.client.files.apply_files import Applied, CannotApply, apply_changes
from holdfast.cli.client.files.base import Base
from holdfast.cli.client.files.changes import CannotCompare
from holdfast.cli.client.files.copy_in import copy_in
from holdfast.cli.client.files.copy_plan import CannotCopy, CopyPlan
from holdfast.cli.client.files.patch import write_patch
from holdfast.cli.client.session_ids import short
from holdfast.cli.client.target import Target
from holdfast.cli.client.terminal.prompt import NobodyToAsk, ask
from holdfast.cli.sanitize import clean_line

Say = Callable[[str], None]
"""Prints a line, which holds no control characters."""


class FileOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `run` that concern files."""

    dir: Path | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    apply: bool = False
    patch: Path | None = None


class Finished(msgspec.Struct, frozen=True):
    """The result of bringing the files back at the end of a run."""

    lines: list[str]
    """Lines to print."""
    ok: bool
    """False when the changes were to be brought back and could not be."""
    applied: bool = False
    """Whether the user's folder now holds the changes."""


class RunFiles:
    """The files of one run. `prepare` makes it; call `begin` with the session's id, then `finish`."""

    def __init__(self, target: Target, options: FileOptions, plan: CopyPlan | None) -> None:
        self._target = target
        self._options = options
        self._plan = plan
        self._base: Base | None = None

    @property
    def copy_in(self) -> Path | None:
        """The folder on this machine that the sandbox sees as /workspace; None with a stack elsewhere."""
        return self._base.workspace if self._base else None

    def begin(self, session: str) -> None:
        """Copy the folder into the workspace of the new session. Raises CannotCopy."""
        if self._target.local:
            self._base = Base(self._target.local, session)
            if self._plan:
                copy_in(self._plan, self._base)

    def finish(self, session: str, *, well: bool) -> Finished:
        """List what changed, write the patch, apply. Changes are applied only if the turn ended `well`."""
        options, base = self._options, self._base
        if base is None:
            return Finished([], ok=True)
        try:
            found = changes.changes(base)
        except CannotCompare as exc:
            return Finished([str(exc)], ok=not (options.apply or options.patch))
        if not (found.items or found.manifest.source or found.unread):
            return Finished([], ok=True)
        lines = ["changes in the workspace of the session:", *changes.lines(found)]
        try:
            if options.patch:
                write_patch(found, options.patch)
                lines.append(clean_line(f"patch: {options.patch} (git apply takes it)"))
            if options.apply and well:
                folder = Path(found.manifest.source)
                lines.append(applied_text(apply_changes(found, folder), folder))
                return Finished(lines, ok=True, applied=True)
        except (CannotApply, CannotCompare) as exc:
            return Finished([*lines, *f"not applied: {exc}".replace("SESSION", short(session)).split("\n")], ok=False)
        if options.apply:
            lines.append(f"not applied, because the turn did not end well. Apply it: holdfast apply {short(session)}")
        elif found.items:
            lines.append(f"look at it: holdfast diff {short(session)}")
            where = "" if found.manifest.source else " --dir FOLDER"
            lines.append(f"bring it back: holdfast apply {short(session)}{where}")
        return Finished(lines, ok=True)


def applied_text(done: Applied, folder: Path) -> str:
    """A line to print about what `apply` did."""
    counts = [f"{len(paths)} {word}" for paths, word in ((done.written, "written"), (done.removed, "removed")) if paths]
    if not counts:
        return clean_line(f"{folder} has all of it already")
    return clean_line(f"applied to {folder}: {', '.join(counts)} (the files only, no commits)")


async def prepare(target: Target, options: FileOptions, session: str | None, say: Say) -> RunFiles:
    """Check everything that can be checked before a session is made, and ask about files that may hold secrets.

    `session` is the full id of the one that goes on, None for a new one. Raises CannotCopy, CannotApply.
    """
    _check_options(target, options, session)
    plan = None
    if options.dir is not None:
        assert target.local
        plan = await _plan(options, Path(target.local.data), say)
    return RunFiles(target, options, plan)


def _check_options(target: Target, options: FileOptions, session: str | None) -> None:
    """Raises CannotCopy for options that could have no effect, and for a patch that could not be written."""
    wants = options.dir or options.apply or options.patch
    if wants and not target.local:
        raise CannotCopy("--dir, --apply and --patch need a stack on this machine (--data), not only its address")
    if (options.include or options.exclude) and not options.dir:
        raise CannotCopy("--include and --exclude choose among the files of --dir, which is not given")
    if options.dir and session:
        raise CannotCopy("--dir is for a new session; this one has its files already. Leave it out")
    if options.apply and not options.dir:
        source = Base(target.local, session).read().source if session and target.local else ""
        if not source:
            raise CannotCopy("--apply needs --dir: the folder that is copied in and gets the changes")
    if options.patch is not None:
        _check_patch(options.patch)


def _check_patch(path: Path) -> None:
    if str(path) == "-":
        raise CannotCopy("--patch - would mix the patch with the transcript; use: holdfast diff SESSION --patch -")
    parent = path.absolute().parent
    shown = clean_line(str(path))
    if path.is_dir() or not parent.is_dir():
        why = "it is a folder" if path.is_dir() else f"there is no folder {clean_line(str(parent))}"
        raise CannotCopy(f"cannot write the patch to {shown}: {why}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise CannotCopy(f"cannot write the patch to {shown}: no permission in {clean_line(str(parent))}")


async def _plan(options: FileOptions, data: Path, say: Say) -> CopyPlan:
    assert options.dir is not None
    plan = copy_plan.plan(options.dir, include=options.include, exclude=options.exclude, data=data)
    if plan.secrets and sys.stdin.isatty() and sys.stdout.isatty():
        say(f"these may hold secrets: {copy_plan.named(plan.secrets)}")
        try:
            answer = await ask("copy them to the agent too? [y/N] ")
        except NobodyToAsk:
            answer = ""
        if answer.lower() in ("y", "yes"):
            include = (*options.include, *map(copy_plan.literal, plan.secrets))
            plan = copy_plan.plan(options.dir, include=include, exclude=options.exclude, data=data)
    for line in copy_plan.summary(plan):
        say(line)
    return plan
