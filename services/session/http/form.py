"""A body of `multipart/form-data`, piece by piece as it comes.

The parser is that of python-multipart, which Starlette uses too: Starlette itself would first put whole files on the
disk.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from holdfast.session.http.errors import ApiError, invalid

MAX_PARTS: Final = 16
"""Parts of one body: far more than any form of this API has fields."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a part. `filename` is None for a field that is no file, and empty for a file without a name."""

    name: str
    filename: str | None
    content_type: str


class PartEnd(msgspec.Struct, frozen=True):
    """The end of a part."""


Piece = Part | bytes | PartEnd
"""A part is its head, then its bytes in any number of pieces, then its end."""


class FormParser:
    """`feed` it with what comes, then `finish`. Both raise ApiError 400 for what is no form."""

    def __init__(self, content_type: str) -> None:
        """`content_type`: the header of the request. Raises ApiError 400 if it is not that of a form."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise invalid("the body must be multipart/form-data, with a boundary in its content-type")
        self._pieces: list[Piece] = []
        self._field = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._parts = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_field,
                    "on_header_value": self._add_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise _malformed() from None

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces that are complete with these bytes."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise _malformed() from None
        pieces, self._pieces = self._pieces, []
        return iter(pieces)

    def finish(self) -> None:
        """No more bytes come."""
        if not self._ended:
            raise invalid("the form in the body ends early")

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise invalid(f"the form has more than {MAX_PARTS} parts")
        self._headers = {}

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name")
        if kind != b"form-data" or not name:
            raise invalid("a part of the form has no name")
        filename = options.get(b"filename")
        self._pieces.append(
            Part(
                name=_text(name),
                filename=None if filename is None else _unescaped(_text(filename)),
                content_type=self._headers.get(b"content-type", b"").decode("latin-1"),
            )
        )

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end_part(self) -> None:
        self._pieces.append(PartEnd())

    def _end(self) -> None:
        self._ended = True


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise invalid("the name of a part or of a file is not UTF-8") from None


def _unescaped(name: str) -> str:
    """The name as it was before the client has escaped it, as the HTML standard has it: a quotation mark, CR and LF."""
    for escape, character in (("%22", '"'), ("%0D", "\r"), ("%0A", "\n")):
        name = name.replace(escape, character)
    return name


def _malformed() -> ApiError:
    return invalid("the body is not valid multipart/form-data")


def fields_of(values: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """The texts of fields that are no files. Raises ApiError 400 for one that is given twice."""
    found: dict[str, str] = {}
    for name, raw in values:
        if name in found:
            raise invalid(f"{name}: given more than once")
        found[name] = _text(raw)
    return found
