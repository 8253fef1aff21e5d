"""From the bytes of a task to JSON or text. Raises Rejected for everything that no message can hold. Pure."""

import json
import re
from typing import Any, Final

from holdfast.session.http.decoding import read_json
from holdfast.session.http.errors import ApiError
from holdfast.session.tasks.rejection import malformed

JSON: Final = "application/json"
"""The media type of data that names none."""

_LONG_INTEGER: Final = re.compile(rb"[0-9]{19}")
"""Digits that may be an integer of more than 64 bits, which msgspec reads as a rounded float."""

_MOST_DIGITS: Final = 20
"""Characters of the longest integers of 64 bits, a sign among them."""


def media_type(content_type: str) -> str:
    """A content type without its parameters, in lower case; empty if there is none."""
    return content_type.partition(";")[0].strip().lower()


def is_json(media: str) -> bool:
    """Whether data of that media type is JSON (RFC 6839)."""
    return media in (JSON, "text/json") or media.endswith("+json")


def decode(content_type: str, raw: bytes, at: str) -> Any:
    """The data of that content type (empty: JSON). `at` names it in errors, such as `data`."""
    media = media_type(content_type) or JSON
    _check_charset(content_type, at)
    if is_json(media):
        return json_value(raw, at)
    if media.startswith("text/") or media == "application/xml" or media.endswith("+xml"):
        return _text(raw, at)
    raise malformed(f"{at}: its content type is neither JSON nor text, so it cannot be put into a message")


def json_value(raw: bytes, at: str) -> Any:
    """The value of a JSON text, under the rules of the edge for bodies: no NUL, at most 100 levels."""
    try:
        value = read_json(raw, Any)
        if _LONG_INTEGER.search(raw):
            json.loads(raw, parse_int=_check_integer)
    except ApiError as exc:
        raise malformed(exc.message.replace("the request body", at)) from None  # the edge speaks of requests
    except OverflowError:
        raise malformed(f"{at} contains an integer of more than 64 bits; send it as a text") from None
    return value


def _check_integer(text: str) -> None:
    if len(text) > _MOST_DIGITS or not -(1 << 63) <= int(text) < 1 << 64:
        raise OverflowError


def _text(raw: bytes, at: str) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise malformed(f"{at} is not text in UTF-8") from None
    if "\0" in text:
        raise malformed(f"{at} contains the character NUL, which no text may contain")
    return text


def _check_charset(content_type: str, at: str) -> None:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8", "us-ascii"):
            raise malformed(f"{at}: the charset of its content type is not utf-8")
