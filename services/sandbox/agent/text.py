"""Text that is safe to show: without characters that a terminal obeys or that hide text from a reader. Pure."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TypeAlias

    Block: TypeAlias = dict[str, Any]

SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b\x9c\n]{0,65536}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
"""Escape sequences: colours and cursor (CSI), titles, clipboard and links (OSC), device strings, character sets. Of a
string that does not end in its line only the beginning is one: what follows is text."""

CONTROLS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""Other control characters, marks that change the direction of writing, and surrogates. Python decodes bytes of a file
name that are not UTF-8 as surrogates, and the service rejects a result that holds one."""


def spelled(text: str) -> str:
    """`text` with control characters spelled out, such as `\\x00` or `\\u202e`."""
    return CONTROLS.sub(_spelled, text)


_OPEN = re.compile(
    r"\r*(?:(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,64}|\x1b[\]PX^_][^\x07\x1b\x9c\n]{0,4096}\x1b?|\x1b[ -/]{0,64})?\Z"
)
"""The end of a text whose meaning the next characters decide: a carriage return, or an unfinished escape sequence. An
unfinished sequence that is longer than this allows counts as text."""


def open_end(text: str) -> int:
    """The index from which on the next characters can change what `text` means; its length if there is none."""
    found = _OPEN.search(text, max(0, len(text) - 4200))
    return found.start() if found else len(text)


def _spelled(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (PEP 383)
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


ERROR_CHARS: Final = 4_000
"""Most characters of an error: it may repeat what the model has sent."""

RESULT_CHARS: Final = 300_000
"""Most characters of a result. The service takes 400,000 and ends a sandbox that sends more."""


def text_block(text: str) -> Block:
    """A content block that the service accepts, whatever `text` holds: spelled out, not empty, of bounded length."""
    safe = spelled(text) or "(no text)"
    if len(safe) > RESULT_CHARS:
        safe = f"{safe[:RESULT_CHARS]}\n[cut: {RESULT_CHARS} of {len(safe)} characters shown]"
    return {"type": "text", "text": safe}


def error_block(text: str) -> Block:
    """The content block of an error."""
    return text_block(text if len(text) <= ERROR_CHARS else f"{text[:ERROR_CHARS]}...")
