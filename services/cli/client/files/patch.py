"""Changes as a patch that `git apply` takes, and as a statistic. Bytes, because files and names need not be UTF-8."""

import hashlib
import zlib
from base64 import b85encode
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.cli.client.files import git_ignored
from holdfast.cli.client.files.changes import CannotCompare, Change, Changes
from holdfast.cli.client.files.line_diff import Block, Hunk, blocks, hunks
from holdfast.cli.client.files.trees import Entry
from holdfast.cli.embedded.layout import write_private
from holdfast.cli.sanitize import clean_line

MAX_TEXT_BYTES: Final = 32 * 1024 * 1024
"""Bytes above which a file is treated as binary."""

NUL_SEARCH_BYTES: Final = 8000
"""A file with a zero byte among its first bytes is binary, as for git."""

SHORT_ID_CHARS: Final = 10
"""Characters of an object id where it only informs; a binary patch needs it whole."""

_ESCAPES: Final = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def quoted(name: str) -> str:
    r"""A file name as git writes it: in quotes with `\ooo` when it holds anything but printable ASCII."""
    raw = name.encode(errors="surrogateescape")
    if all(0x20 <= byte < 0x7F and byte not in (0x22, 0x5C) for byte in raw):
        return name
    escaped = (_ESCAPES.get(b) or (chr(b) if 0x20 <= b < 0x7F else f"\\{b:03o}") for b in raw)
    return f'"{"".join(escaped)}"'


def is_binary(content: bytes) -> bool:
    """Whether git would call it binary."""
    return len(content) > MAX_TEXT_BYTES or b"\0" in content[:NUL_SEARCH_BYTES]


def patch(found: Changes) -> Iterator[bytes]:
    """The whole patch, one part for each change. Raises CannotCompare.

    Paths begin at the top of the user's repository, as those of git do: otherwise `git apply` in a folder below it
    would do nothing, without a word.
    """
    prefix = git_ignored.prefix(Path(found.manifest.source)) if found.manifest.source else ""
    for change in found.items:
        yield file_patch(change, found.old(change), found.new(change), prefix)


def write_patch(found: Changes, path: Path) -> None:
    """Write the patch to `path`, replacing what is there at once. Raises CannotCompare."""
    try:
        write_private(path.absolute(), b"".join(patch(found)))
        path.chmod(0o644)
    except OSError as exc:
        raise CannotCompare(f"cannot write {clean_line(str(path))}: {exc.strerror}") from None


def file_patch(change: Change, old: bytes, new: bytes, prefix: str = "") -> bytes:
    """One change in the format of git, with `prefix` in front of its paths. Pure."""
    before, after = change.before, change.after
    if before and after and before.kind != after.kind:  # git has no word for a file that becomes a link
        gone = Change(kind="removed", path=change.path, old_path=change.path, before=before)
        made = Change(kind="new", path=change.path, old_path=change.path, after=after)
        return file_patch(gone, old, b"", prefix) + file_patch(made, b"", new, prefix)
    was, now = prefix + change.old_path, prefix + change.path
    left, right = f"a/{was}", f"b/{now}"
    head = [f"diff --git {quoted(left)} {quoted(right)}", *_modes(before, after)]
    if change.kind == "renamed":
        head += ["similarity index 100%", f"rename from {quoted(was)}", f"rename to {quoted(now)}"]
    if old == new and before and after:
        return _lines(head)
    mode = f" {_mode(before)}" if before and after and _mode(before) == _mode(after) else ""
    ids = _object_id(before, old), _object_id(after, new)
    if is_binary(old) or is_binary(new):
        return _lines([*head, f"index {ids[0]}..{ids[1]}{mode}", "GIT binary patch"]) + _literal(new) + _literal(old)
    head.append(f"index {ids[0][:SHORT_ID_CHARS]}..{ids[1][:SHORT_ID_CHARS]}{mode}")
    body = text_hunks(old, new)
    if body:
        head += [f"--- {_named(left) if before else '/dev/null'}", f"+++ {_named(right) if after else '/dev/null'}"]
    return _lines(head) + body


def _modes(before: Entry | None, after: Entry | None) -> list[str]:
    if before is None:
        return [f"new file mode {_mode(after)}"]
    if after is None:
        return [f"deleted file mode {_mode(before)}"]
    if _mode(before) != _mode(after):
        return [f"old mode {_mode(before)}", f"new mode {_mode(after)}"]
    return []


def _mode(entry: Entry | None) -> str:
    if entry is None:
        return "000000"
    if entry.kind == "link":
        return "120000"
    return "100755" if entry.executable else "100644"


def _named(name: str) -> str:
    """A name behind `---` or `+++`: with a blank in it a tab must follow, or the rest would be taken for a time."""
    text = quoted(name)
    return f"{text}\t" if " " in text and text == name else text


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _object_id(entry: Entry | None, content: bytes) -> str:
    """The id that git gives to this content."""
    if entry is None:
        return "0" * 40
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _literal(content: bytes) -> bytes:
    """A content as it stands in a binary patch: deflated, in lines of 52 bytes, each with its length in front."""
    packed = zlib.compress(content)
    out = [b"literal %d\n" % len(content)]
    for at in range(0, len(packed), 52):
        line = packed[at : at + 52]
        length = len(line) + (64 if len(line) <= 26 else 70)  # A to Z, then a to z
        out.append(bytes([length]) + b85encode(line, pad=True) + b"\n")
    return b"".join([*out, b"\n"])


def split(text: bytes) -> list[bytes]:
    """Lines with their ends; only a line feed ends one."""
    parts = text.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def text_hunks(old: bytes, new: bytes) -> bytes:
    """The difference of two texts with three lines of context."""
    a, b = split(old), split(new)
    return b"".join(_hunk(a, b, hunk) for hunk in hunks(blocks(a, b), len(a), len(b)))


def _hunk(a: list[bytes], b: list[bytes], hunk: Hunk) -> bytes:
    at = hunk.lines
    out = [f"@@ -{_range(at.a1, at.a2)} +{_range(at.b1, at.b2)} @@\n".encode()]
    place = at.a1
    for block in [*hunk.blocks, Block(at.a2, at.a2, at.b2, at.b2)]:
        out += [b" " + line for line in a[place : block.a1]]
        out += [b"-" + line for line in a[block.a1 : block.a2]]
        out += [b"+" + line for line in b[block.b1 : block.b2]]
        place = block.a2
    return b"".join(line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n" for line in out)


def _range(start: int, end: int) -> str:
    count = end - start
    first = start + 1 if count else start
    return f"{first},{count}" if count != 1 else str(first)


class Statistic(NamedTuple):
    """Lines that came and went in one file; None for both when it is binary."""

    added: int | None
    removed: int | None


def statistic(old: bytes, new: bytes) -> Statistic:
    """Count the lines that differ. Pure."""
    if is_binary(old) or is_binary(new):
        return Statistic(None, None)
    found = blocks(split(old), split(new))
    return Statistic(sum(x.b2 - x.b1 for x in found), sum(x.a2 - x.a1 for x in found))
