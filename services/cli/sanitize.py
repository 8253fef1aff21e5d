"""Text from an agent, a tool or a file system, made safe to print on a terminal. Pure.

Readable text stays unchanged, with its no-break spaces, joined emoji, soft hyphens, direction marks and combining
marks. Escape sequences, which would control the terminal, are removed. Other control characters are replaced by a
visible symbol.
"""

import re
from typing import Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"

_SEQUENCE: Final = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement, erasing
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"  # OSC: window title, hyperlink, clipboard
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c\n]*(?:\x1b\\|\x9c)"  # DCS, SOS, PM, APC
    r"|\x1b[ -/]+[0-~]"  # character sets
    r"|\x1b[0-OQ-WYZ\\`-~]"  # two characters: reset, save the cursor, and so on
)
_CONTROL: Final = r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
_DIRECTION: Final = "[\u202a-\u202e\u2066-\u2069]"
"""Characters that turn the direction of what follows: they can make a text read as another one (CVE-2021-42574)."""

_UNSAFE: Final = re.compile(
    rf"(?P<line>\r\n|[\r\u2028\u2029])|(?P<sequence>{_SEQUENCE})"
    rf"|(?P<control>{_CONTROL})|(?P<other>{_DIRECTION}|[\ud800-\udfff])"
)


def clean(text: str) -> str:
    r"""`text` without anything that controls a terminal, except line feeds and tabs.

    Carriage returns and the line separators of Unicode become line feeds. Complete escape sequences are removed; of an
    incomplete one, and of every other control character, the control picture is shown (ESC: ␛). Direction overrides,
    embeddings and isolates, and surrogates (bytes of a file name that are no UTF-8) become U+FFFD.
    `clean(clean(text)) == clean(text)`. Pass whole texts: an escape sequence that is split over two calls is not found.
    """
    return _UNSAFE.sub(_safe, text)


def clean_line(text: str) -> str:
    """`clean(text)` on one line, for file names, commands and titles: line feeds and tabs are shown as ␊ and ␉."""
    return clean(text).replace("\n", "␊").replace("\t", "␉")


def _safe(found: re.Match[str]) -> str:
    match found.lastgroup:
        case "line":
            return "\n"
        case "sequence":
            return ""
        case "control":
            code = ord(found[0])
            return "\N{SYMBOL FOR DELETE}" if code == 0x7F else chr(0x2400 + code) if code < 0x20 else REPLACEMENT
        case _:
            return REPLACEMENT
