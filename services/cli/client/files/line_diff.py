"""Which lines of two texts differ, in bounded time also for texts made to be slow to compare. Pure.

`difflib` takes time in proportion to the product of both lengths. So equal beginnings and ends are cut off first, the
rest is split at lines that occur once in each text (patience diff), and a part that is still too large counts as
replaced as a whole.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

MAX_LINE_PRODUCT: Final = 1_000_000
"""Largest product of the numbers of lines of two parts that difflib compares."""

CONTEXT_LINES: Final = 3
"""Equal lines around a change."""


class Block(NamedTuple):
    """Lines `a1` to `a2` of the old text became lines `b1` to `b2` of the new one (ends exclusive)."""

    a1: int
    a2: int
    b1: int
    b2: int


def blocks(a: Sequence[bytes], b: Sequence[bytes]) -> list[Block]:
    """Everything that differs, in order; blocks never touch each other."""
    found: list[Block] = []
    for block in _between(a, b):
        last = found[-1] if found else None
        if last and (last.a2, last.b2) == (block.a1, block.b1):
            found[-1] = Block(last.a1, block.a2, last.b1, block.b2)
        else:
            found.append(block)
    return found


def _between(a: Sequence[bytes], b: Sequence[bytes]) -> Iterator[Block]:
    start = _common(a, b)
    end = _common(a[start:][::-1], b[start:][::-1])
    a1, a2, b1, b2 = start, len(a) - end, start, len(b) - end
    for x, y in [*_anchors(a[a1:a2], b[b1:b2]), (a2 - start, b2 - start)]:
        yield from _compare(a, b, Block(a1, start + x, b1, start + y))
        a1, b1 = start + x + 1, start + y + 1


def _common(a: Sequence[bytes], b: Sequence[bytes]) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _compare(a: Sequence[bytes], b: Sequence[bytes], at: Block) -> Iterator[Block]:
    a1, a2, b1, b2 = at
    if a1 == a2 and b1 == b2:
        return
    if (a2 - a1) * (b2 - b1) > MAX_LINE_PRODUCT:
        yield at
        return
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, a[a1:a2], b[b1:b2]).get_opcodes():
        if tag != "equal":
            yield Block(a1 + i1, a1 + i2, b1 + j1, b1 + j2)


def _anchors(a: Sequence[bytes], b: Sequence[bytes]) -> list[tuple[int, int]]:
    """Places of lines that occur once in each text, as the longest series that rises in both."""
    if len(a) * len(b) <= MAX_LINE_PRODUCT:
        return []
    once_a, once_b = Counter(a), Counter(b)
    place = {line: n for n, line in enumerate(b) if once_b[line] == 1}
    pairs = [(n, place[line]) for n, line in enumerate(a) if once_a[line] == 1 and line in place]
    ends: list[int] = []  # the smallest last place in `b` of a series of each length
    last: list[int] = []  # which pair that is
    before: list[int] = []
    for number, (_, y) in enumerate(pairs):
        at = bisect_left(ends, y)
        before.append(last[at - 1] if at else -1)
        if at == len(ends):
            ends.append(y)
            last.append(number)
        else:
            ends[at], last[at] = y, number
    found: list[tuple[int, int]] = []
    number = last[-1] if last else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]


class Hunk(NamedTuple):
    """Differences that lie close together, with the range of lines around them."""

    blocks: list[Block]
    lines: Block


def hunks(found: Sequence[Block], old: int, new: int) -> list[Hunk]:
    """Group differences with their context. `old` and `new` are the numbers of lines of the texts."""
    groups: list[list[Block]] = []
    for block in found:
        if groups and block.a1 - groups[-1][-1].a2 <= 2 * CONTEXT_LINES:
            groups[-1].append(block)
        else:
            groups.append([block])
    made: list[Hunk] = []
    for group in groups:
        first, last = group[0], group[-1]
        before = min(CONTEXT_LINES, first.a1)
        after = min(CONTEXT_LINES, old - last.a2)
        assert after <= new - last.b2
        made.append(Hunk(group, Block(first.a1 - before, last.a2 + after, first.b1 - before, last.b2 + after)))
    return made
