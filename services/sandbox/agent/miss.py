"""What to tell a model whose text was not found in a file: the nearest line, and the first difference. Pure."""

from __future__ import annotations

import re

from .matching import line_of
from .text import spelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

SHOWN_CHARS: Final = 200
"""Most characters of a line in a hint."""

COMPARED_CHARS: Final = 500
"""Characters of a line that are compared to find the nearest."""

TELLING_CHARS: Final = 8
"""Least characters of a new text whose presence means that the edit was made before."""

NEAR: Final = 0.6
"""Least similarity (difflib, 0 to 1) of the nearest line."""

_ALIKE: Final = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u2032": "'", "`": "'",
        "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2033": '"', "\u00ab": '"', "\u00bb": '"',
        "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-",
        "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "", "\u00ad": "",
    }
)  # fmt: skip
"""Characters that are taken for others when a text is typed again."""

_SPACE: Final = re.compile(r"\s+")


def hint(text: str, old: str, new: str) -> str:
    """A sentence or two on why `old` is not in `text`."""
    if not text.strip():
        return "The file is empty." if not text else "The file holds nothing but white space."
    if len(new.strip()) >= TELLING_CHARS and new in text:
        return f"new_string is there already, in line {line_of(text, text.index(new))}."
    lines, wanted = text.split("\n"), old.split("\n")
    start, count = _nearest(lines, wanted)
    if start < 0:
        return "No line is like its first line; read the file again."
    at = min(start + count, len(lines) - 1, start + len(wanted) - 1)
    if count == len(wanted):  # alike in all lines: the first one that is not the same
        raw = [line.rstrip("\r") for line in wanted]
        at = next((start + n for n in range(count) if not _alike(lines[start + n].rstrip("\r"), raw, n)), start)
    have, want = lines[at].rstrip("\r"), wanted[at - start].rstrip("\r")
    if len(wanted) == 1 and len(have) <= COMPARED_CHARS and _folded(want) in _folded(have):
        have = _part(have, want)
    said = f"The nearest is line {at + 1}"
    if len(wanted) > 1:
        said += f" (line {at - start + 1} of old_string)"
    return f"{said}.\n  file:       {_shown(have)}\n  old_string: {_shown(want)}\n  {difference(have, want)}"


def difference(have: str, want: str) -> str:
    """Where the line `want` of the model begins to differ from the line `have` of the file."""
    column, end = 0, min(len(have), len(want))
    while column < end and have[column] == want[column]:
        column += 1
    if column == len(have) == len(want):
        return "These lines are equal; the difference is in the number of lines or in a line end."
    return (
        f"They differ from column {column + 1}: the file has {_named(have, column)}, old_string {_named(want, column)}."
    )


def _nearest(lines: Sequence[str], wanted: Sequence[str]) -> tuple[int, int]:
    """The index of the line at which `wanted` fits best, and how many of its lines are alike; index -1: nowhere."""
    folded = [_folded(line) for line in lines]
    want = [_folded(line) for line in wanted]
    best, most = -1, 0
    for start in range(len(folded)):
        count = 0
        while count < len(want) and start + count < len(folded) and _alike(folded[start + count], want, count):
            count += 1
        if count > most and any(want[:count]):
            best, most = start, count
    return (best, most) if best >= 0 else (_most_similar(folded, want), 0)


def _alike(have: str, want: Sequence[str], index: int) -> bool:
    """Whether a line of the file fits a line of the wanted text, whose first and last may be parts of lines."""
    if len(want) == 1:
        return bool(want[0]) and want[0] in have
    if index == 0:
        return have.endswith(want[0])
    return have.startswith(want[index]) if index == len(want) - 1 else have == want[index]


def _most_similar(folded: Sequence[str], want: Sequence[str]) -> int:
    import difflib  # noqa: PLC0415  slow to import, and only a miss needs it

    first = next((n for n, line in enumerate(want) if line), 0)
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(want[first][:COMPARED_CHARS])
    best, most = -1, NEAR
    for index, line in enumerate(folded):
        matcher.set_seq1(line[:COMPARED_CHARS])
        if matcher.real_quick_ratio() > most and matcher.quick_ratio() > most and matcher.ratio() > most:
            best, most = index, matcher.ratio()
    return best - first if best >= first else best


def _folded(line: str) -> str:
    """The line without differences that the eye does not see: white space, quotes, dashes, ligatures."""
    import unicodedata  # noqa: PLC0415  as above

    if not line.isascii():
        line = unicodedata.normalize("NFKC", line.translate(_ALIKE))
    return _SPACE.sub(" ", line).strip()


def _part(have: str, want: str) -> str:
    """The part of the line `have` that is like `want`."""
    ends = [end for end in range(1, len(have) + 1) if _folded(have[:end]).endswith(_folded(want))]
    end = ends[0] if ends else len(have)
    starts = [start for start in range(end) if _folded(have[start:end]) == _folded(want)]
    return have[starts[-1] if have[starts[-1]] == want[:1] else starts[0] : end] if starts else have


def _shown(line: str) -> str:
    shown = spelled(line).replace("\t", "\\t").replace("\xa0", "\\xa0")
    return shown if len(shown) <= SHOWN_CHARS else f"{shown[:SHOWN_CHARS]}..."


def _named(line: str, column: int) -> str:
    import unicodedata  # noqa: PLC0415  as above

    if column >= len(line):
        return "nothing more"
    char = line[column]
    name = unicodedata.name(char, "")
    if char.isascii() and char.isprintable() and char != " ":
        return repr(char)
    return f"U+{ord(char):04X}{f' {name}' if name else ''}" if char != "\t" else "a tab"
