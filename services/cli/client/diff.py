"""`holdfast diff` and `holdfast apply`: what a session changed, shown or brought back."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec
from rich.console import Console
from rich.text import Text

from holdfast.cli.client.files import patch as patches
from holdfast.cli.client.files.apply_files import CannotApply, apply
from holdfast.cli.client.files.base import Base
from holdfast.cli.client.files.changes import CannotCompare, Change, Changes, changes, notes
from holdfast.cli.client.files.run_files import applied_text
from holdfast.cli.client.files.selection import matches
from holdfast.cli.client.session_ids import resolve
from holdfast.cli.client.target import Target
from holdfast.cli.sanitize import clean_line

Show = Literal["diff", "stat", "names"]

_STYLES: Final = {"+": "green", "-": "red", "@": "cyan", "d": "bold", "\\": "dim"}
_HEADS: Final = ("--- ", "+++ ")


async def show_diff(target: Target, session: str, show: Show, patch: Path | None) -> int:
    """Print what changed, or write it as a patch. Raises UnknownSession, CannotCompare."""
    if patch is not None and show != "diff":
        raise CannotCompare("--patch writes the whole patch; leave --stat or --name-only out")
    _, base = await _base(target, session)
    found = changes(base)
    if patch is not None and str(patch) != "-":
        patches.write_patch(found, patch)
        print(clean_line(f"{len(found.items)} changes written to {patch}"))
    elif show == "names":
        for change in found.items:
            print(patches.quoted(change.path))
    elif show == "stat":
        _show_stat(found)
    elif patch is None and sys.stdout.isatty():
        _show_coloured(found)
    else:
        for part in patches.patch(found):
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
    for note in notes(found):
        print(note.strip(), file=sys.stderr)
    if not found.items:
        print("nothing changed", file=sys.stderr)
    return 0


async def apply_session(target: Target, session: str, folder: Path | None, exclude: tuple[str, ...]) -> int:
    """Bring the changes into `folder`, or where they came from. Raises UnknownSession, CannotCompare, CannotApply."""
    status, base = await _base(target, session)
    if status in ("running", "rescheduling"):
        raise CannotApply("the agent is at work in this session; wait until it is idle, or interrupt it")
    found = changes(base)
    into = folder or Path(found.manifest.source)
    if not (folder or found.manifest.source):
        raise CannotApply("nothing was copied into this session with --dir; name the folder with --dir")
    print(applied_text(apply(without(found, exclude), into), into))
    for note in notes(found):
        print(note.strip(), file=sys.stderr)
    return 0


async def _base(target: Target, session: str) -> tuple[str, Base]:
    """The status of a session and its base. Raises UnknownSession, CannotCompare."""
    if target.local is None:
        raise CannotCompare("the files of a session can be reached only with a stack on this machine (--data)")
    async with target.client() as client:
        found = await client.beta.sessions.retrieve(await resolve(client, session))
    return found.status, Base(target.local, found.id)


def without(found: Changes, exclude: tuple[str, ...]) -> Changes:
    """The changes without files that one of these patterns names. Raises CannotApply for one that names nothing."""
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


def _show_coloured(found: Changes) -> None:
    console = Console(highlight=False)
    for change in found.items:
        old, new = found.old(change), found.new(change)
        part = patches.file_patch(change, old, new)
        if patches.is_binary(old) or patches.is_binary(new):
            part = part.partition(b"GIT binary patch\n")[0] + b"(binary file)\n"
        for line in _readable(part):
            console.print(line, soft_wrap=True)


def _readable(part: bytes) -> Iterator[Text]:
    """The lines of one file's patch for a terminal: coloured, and without anything that it would obey."""
    head = True
    for raw in part.decode(errors="replace").removesuffix("\n").split("\n"):
        head = not raw.startswith("@@") and (head or raw.startswith("diff --git "))
        style = "bold" if head else _STYLES.get(raw[:1], "")
        yield Text(clean_line(raw).replace("␉", "\t"), style)


def _show_stat(found: Changes) -> None:
    """As git diff --stat: a line for each file, then the sums."""
    rows = [(change, patches.statistic(found.old(change), found.new(change))) for change in found.items]
    added = removed = 0
    for change, count in rows:
        name = patches.quoted(change.path)
        if change.kind == "renamed":
            name = f"{patches.quoted(change.old_path)} => {name}"
        added, removed = added + (count.added or 0), removed + (count.removed or 0)
        text = "binary" if count.added is None else f"+{count.added} -{count.removed}"
        print(f"{text:>12}  {change.kind:<7}  {name}")
    if rows:
        print(f"{len(rows)} files, +{added} -{removed} lines")
