"""Work of `holdfast diff`: shows the changes of a session as text, statistic, names or a patch."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from rich.console import Console
from rich.text import Text

from holdfast.cli.client.files import patch as patches
from holdfast.cli.client.files.changes import CannotCompare, Changes, changes, notes
from holdfast.cli.client.session_files import session_base
from holdfast.cli.client.target import Target
from holdfast.cli.sanitize import clean_line

Form = Literal["diff", "stat", "names"]

_STYLES: Final = {"+": "green", "-": "red", "@": "cyan", "d": "bold", "\\": "dim"}
_HEADS: Final = ("--- ", "+++ ")


async def show_diff(target: Target, session: str, form: Form, patch: Path | None) -> int:
    """Print what changed, or write it as a patch. Raises UnknownSession, CannotCompare."""
    if patch is not None and form != "diff":
        raise CannotCompare("--patch writes the whole patch; leave --stat or --name-only out")
    _, base = await session_base(target, session)
    found = changes(base)
    if patch is not None and str(patch) != "-":
        patches.write_patch(found, patch)
        print(clean_line(f"{len(found.items)} changes written to {patch}"))
    elif form == "names":
        for change in found.items:
            print(patches.quoted(change.path))
    elif form == "stat":
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
    """The lines of one file's patch for a terminal: coloured, and without control characters."""
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
