"""Keeps the key of a model endpoint, and other credentials, out of what enters the log. Pure.

An endpoint may repeat its request: in an error, in the answer, in the input of a tool call, cut anywhere into deltas.
The log is kept for ever and shown to users, so the key is replaced before anything of the endpoint leaves `models`.
"""

import re
from typing import Any, Final

from msgspec.structs import replace

from holdfast.harness.models.interface import Response
from holdfast.harness.models.json_objects import whole_characters

REDACTED: Final = "***"

KEY_MINIMUM_CHARS: Final = 12
"""A shorter key is a placeholder, such as `any`: to replace it would damage answers that contain the word."""

ERROR_KEY_MINIMUM_CHARS: Final = 4
"""The same for errors, in which a wrong replacement does less harm."""

PART_MINIMUM_CHARS: Final = 8
"""A shorter beginning of a key, such as `sk-ant-`, tells nothing of it."""

VALUE_LIMIT_LEVELS: Final = 200
"""Levels of a JSON value that are kept: twice as many as a tool input may have, so that it is still refused."""

TEXT_LIMIT_CHARS: Final = 500
"""Length to which an error text of the endpoint or of a library is cut."""

ERROR_READ_CHARS: Final = 64 * 1024
"""Length of an error text that is searched for credentials."""

_CREDENTIALS: Final = re.compile(
    r"""\b(?:bearer|basic)\s+(?P<scheme>(?=[\w.~+/=-]*\d)[\w.~+/=-]{8,})
      | \b(?P<key>(?:sk|pk|rk)-[\w-]{12,})
      | \b(?P<aws>(?:AKIA|ASIA)[A-Z0-9]{12,})
      | \b(?P<jwt>ey[\w-]{8,}\.[\w-]{8,}\.[\w-]*)
      | ://(?P<login>[^\s/@]+)@
      | \b(?:api[_-]?key|authorization|password|secret|token)["']?\s*[:=]\s*["']?(?P<named>[^\s"',;&]{8,})""",
    re.IGNORECASE | re.VERBOSE,
)
"""What looks like a credential of anybody: of the endpoint's own upstream, or of a proxy."""


class Scrubber:
    """Replaces one key. `key` may be empty."""

    def __init__(self, key: str) -> None:
        self._key = key if len(key) >= KEY_MINIMUM_CHARS else ""
        self._given = key if len(key) >= ERROR_KEY_MINIMUM_CHARS else ""

    def error(self, text: str, limit: int = TEXT_LIMIT_CHARS) -> str:
        """A text for an error, without credentials, then cut to `limit` characters.

        A key that is cut off at the end of `text`, which may be the beginning of a longer text, is left out.
        """
        text = text[:ERROR_READ_CHARS]
        text = text.replace(self._given, REDACTED) if self._given else text
        filtered = TextFilter(self._given)
        text = filtered.feed(text)
        if len(rest := filtered.end()) < PART_MINIMUM_CHARS:
            text += rest
        return _CREDENTIALS.sub(_redacted, whole_characters(text))[:limit]

    def word(self, text: str, limit: int) -> str:
        """A short text of the protocol, such as a stop reason or the id of a request, without the key."""
        return str(self.value(text))[:limit]

    def value(self, value: Any, levels: int = VALUE_LIMIT_LEVELS) -> Any:
        """The same JSON value without the key, keys of objects included, and without halves of characters.

        What lies deeper than `levels` becomes None.
        """
        match value:
            case str():
                value = whole_characters(value)
                return value.replace(self._key, REDACTED) if self._key else value
            case list() | dict() if levels == 0:
                return None
            case list():
                return [self.value(v, levels - 1) for v in value]  # pyright: ignore[reportUnknownVariableType]
            case dict():
                return {self.value(k): self.value(v, levels - 1) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
            case _:
                return value

    def response(self, response: Response) -> Response:
        """The response without the key."""
        return replace(response, blocks=self.value(response.blocks), details=self.value(response.details))

    def filter(self) -> "TextFilter":
        """For a text that comes in pieces."""
        return TextFilter(self._key)


class TextFilter:
    """Replaces the key in a text that comes in pieces, and joins characters that are cut in half.

    What may be the beginning of the key, or is the first half of a character, waits for the next piece.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._held = ""

    def feed(self, piece: str) -> str:
        """The text that can be told now."""
        text = self._held + piece
        if self._key:
            text = text.replace(self._key, REDACTED)
        held = self._beginning_of_key(text)
        if not held and text and "\ud800" <= text[-1] <= "\udbff":
            held = 1
        told, self._held = (text[:-held], text[-held:]) if held else (text, "")
        return whole_characters(told)

    def end(self) -> str:
        """The text that still waited; nothing follows it."""
        held, self._held = self._held, ""
        return whole_characters(held)

    def _beginning_of_key(self, text: str) -> int:
        """Number of characters at the end of the text with which the key begins; 0 if there are none."""
        if not self._key:
            return 0
        at = text.find(self._key[0], max(len(text) - len(self._key) + 1, 0))
        while at >= 0:
            if self._key.startswith(text[at:]):
                return len(text) - at
            at = text.find(self._key[0], at + 1)
        return 0


def _redacted(found: re.Match[str]) -> str:
    """The match with its credential replaced."""
    secret = found.group(found.lastgroup or 0)
    return found.group().replace(secret, REDACTED)
