"""The sets of characters of patterns, such as `[a-z[:digit:]]`, for the tools `glob` and `grep`. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

POSIX: Final = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": r" \t", "cntrl": r"\x00-\x1f\x7f", "digit": "0-9",
    "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\s", "upper": "A-Z",
    "word": r"\w", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
"""What a class of POSIX stands for inside a set of Python's regular expressions."""


class UnknownClass(Exception):
    """A class of characters that does not exist; its name."""


def posix_class(pattern: str, at: int) -> tuple[str, int]:
    """If a POSIX class such as `[:space:]` begins at `at`: what it stands for and the index behind it; else "", `at`.

    Raises UnknownClass.
    """
    if not pattern.startswith("[:", at):
        return "", at
    end = pattern.find(":]", at + 2)
    name = pattern[at + 2 : end] if end >= 0 else ""
    if not name.isalpha():
        return "", at
    if name not in POSIX:
        raise UnknownClass(f"[:{name}:] is no class of characters; there are {', '.join(POSIX)}")
    return POSIX[name], end + 2


def end_of_set(pattern: str, at: int, *, negations: str = "^", escapes: bool = True) -> int:
    """The index behind the set that begins with the bracket at `at`; -1 if it does not end.

    A `]` at the beginning of a set is one of its characters.
    """
    at += 1
    if at < len(pattern) and pattern[at] in negations:
        at += 1
    first = at
    while at < len(pattern):
        if pattern[at] == "]" and at > first:
            return at + 1
        if pattern[at] == "\\" and escapes:
            at += 2
        elif pattern.startswith("[:", at) and (end := pattern.find(":]", at + 2)) >= 0:
            at = end + 2 if pattern[at + 2 : end].isalpha() else at + 1
        else:
            at += 1
    return -1
