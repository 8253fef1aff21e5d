"""The name and the media type of an uploaded file."""

import mimetypes
import re
from typing import Final

from holdfast.session.http.errors import invalid

MAX_NAME_BYTES: Final = 255
"""Longest name in UTF-8: what a Linux file system takes, as files are put into sandboxes."""

_KNOWN: Final = mimetypes.MimeTypes()
"""The types that Python knows: those of the machine beside them would differ from replica to replica."""

UNKNOWN_TYPE: Final = "application/octet-stream"

_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_SEPARATORS: Final = re.compile(r"[/\\]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that end a line, or that show a name as another one: no name of a file needs them."""


def mime_type(content_type: str, filename: str) -> str:
    """The media type that the client has declared, without parameters, else that of the name."""
    declared = content_type.partition(";")[0].strip().lower()
    if _TYPE.fullmatch(declared):
        return declared
    return _KNOWN.guess_type(filename, strict=False)[0] or UNKNOWN_TYPE


def file_name(given: str, media_type: str) -> str:
    """The last component of the path that the client has given. Raises ApiError 400 for what names no file.

    Without one it is `unnamed`, with the extension of the media type if it is known.
    """
    name = _SEPARATORS.split(given)[-1].strip(" ")
    if not name:
        return "unnamed" + (_KNOWN.guess_extension(media_type, strict=False) or "")
    if name in (".", ".."):
        raise invalid(f"file: {name!r} is no name of a file")
    if _CONTROL.search(name):
        raise invalid("file: the filename must not contain control characters")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise invalid(f"file: the filename is longer than {MAX_NAME_BYTES} bytes in UTF-8")
    return name
