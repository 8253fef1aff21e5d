"""Text that every match of a regular expression contains, so that other text need not be searched. Pure."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_SKIPPED: Final = re.compile(
    r"""
    \\[dDwWsSbBAZtnrfva]            # character classes, anchors, control characters
    | \[\^?\]?(?:\\.|[^\]\\])*\]    # a set
    | \{\d*,?\d*\}                  # a repetition
    | [*+?.^$]
    | [\ufffd\ud800-\udfff]        # can stand for bytes that are not UTF-8
    """,
    re.VERBOSE | re.DOTALL,
)
"""Parts of a pattern without a literal character."""

_LITERAL: Final = re.compile(r"\\[^0-9A-Za-z]|[^\\\[()|*+?.^$]", re.DOTALL)
"""One literal character, escaped or not."""


def required_literal(pattern: str) -> str:
    """The longest text found that every match of the valid regular expression `pattern` contains; may be empty.

    Only characters outside of groups are considered. For alternatives, flags and rare escapes it is empty.
    """
    longest = run = ""
    depth = at = 0
    while at < len(pattern):
        literal = ""
        if pattern.startswith("(?:", at) or (pattern[at] == "(" and not pattern.startswith("(?", at)):
            depth += 1
            at += 3 if pattern.startswith("(?:", at) else 1
        elif pattern[at] == ")":
            depth -= 1
            at += 1
        elif found := _SKIPPED.match(pattern, at):
            at = found.end()
        elif found := _LITERAL.match(pattern, at):
            literal, at = found.group()[-1], found.end()
        elif depth and pattern[at] == "|":
            at += 1
        else:
            return ""
        # A character that may be repeated or left out ends the run; with `+` it is there at least once.
        optional = at < len(pattern) and pattern[at] in "*?{"
        run = run + literal if literal and not depth and not optional else ""
        longest = max(longest, run, key=len)
    return longest
