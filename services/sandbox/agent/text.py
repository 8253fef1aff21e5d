"""Text that is safe to show: without characters that a terminal obeys or that hide text from a reader. Pure."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Block: TypeAlias = dict[str, Any]

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]{0,65536}(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
"""Escape sequences: colours and cursor (CSI), titles, clipboard and links (OSC), device strings, character sets."""

_CONTROLS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""Other control characters, marks that change the direction of writing, and surrogates. Python decodes bytes of a file
name that are not UTF-8 as surrogates, and the service rejects a result that holds one."""


def clean(data: bytes | bytearray | str, *, terminal: bool) -> str:
    """`data` as text in which control characters are spelled out, such as `\\x00` or `\\u202e`.

    `terminal`: for the output of a program. Escape sequences are removed, and carriage returns become line ends.
    """
    text = data if isinstance(data, str) else bytes(data).decode("utf-8", "replace")
    if terminal:
        text = _SEQUENCES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub(_spelled, text)


_OPEN = re.compile(
    r"(?:\r(?:" + _SEQUENCES.pattern + r")*)?"
    r"(?:(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,64}|\x1b[\]PX^_][^\x07\x1b\x9c]{0,4096}\x1b?|\x1b[ -/]{0,64})?\Z"
)
"""The end of a text whose meaning the next characters decide: a carriage return, or an unfinished escape sequence. An
unfinished sequence that is longer than this allows counts as text."""


def open_end(text: str) -> int:
    """The index from which on `clean` may show `text` differently once more follows; its length if there is none."""
    found = _OPEN.search(text)
    return found.start() if found else len(text)


def _spelled(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (PEP 383)
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def text_block(text: str) -> Block:
    """A content block of a result."""
    return {"type": "text", "text": text}
