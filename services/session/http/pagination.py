"""Pages of lists, by cursor. A cursor is opaque, and belongs to one list with one order and one set of filters. Pure.

The digest in a cursor needs no secret: a cursor grants nothing, it only says where to go on in a list that the caller
may read anyway. The digest makes a cursor that was cut, changed or used with other filters an error.
"""

import base64
import binascii
import hashlib
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from holdfast.session.http.errors import invalid

P = TypeVar("P", int, str)
T = TypeVar("T")

_PREFIX: Final = "page_"

Limit = Annotated[int, Meta(ge=1, le=100)]
"""Objects of a page."""

DEFAULT_LIMIT: Final = 20
"""Objects of a page when the query has no `limit`."""


class PageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of every list. `page` is a `next_page` of an earlier answer."""

    limit: Limit = DEFAULT_LIMIT
    page: str | None = None


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list; `next_page` is the cursor of the page behind it, null on the last one."""

    data: list[T]
    next_page: str | None


def cursor(position: list[Any], bound: list[Any]) -> str:
    """The cursor of a position in the list that `bound` (which list, tenant, order, filters) describes.

    Both arguments are lists of plain JSON values.
    """
    body = msgspec.json.encode([position, _digest(position, bound)])
    return _PREFIX + base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def position(text: str, bound: list[Any]) -> list[Any]:
    """The position in a cursor. Raises ApiError 400 unless the cursor was made for the same `bound`."""
    encoded = text.removeprefix(_PREFIX)
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        found, digest = msgspec.json.decode(raw, type=tuple[list[Any], str])
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        raise invalid("page: not a cursor of this API") from None
    if digest != _digest(found, bound) or cursor(found, bound) != text:
        raise invalid("page: this cursor belongs to another list, order or filter")
    return found


def _digest(position: list[Any], bound: list[Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(msgspec.to_builtins([position, bound], enc_hook=int))).hexdigest()[:16]


def position_of(query: PageQuery, bound: list[Any], kind: type[P]) -> P | None:
    """The position in the query's cursor, a single value of `kind`; None for the first page. Raises ApiError 400."""
    if query.page is None:
        return None
    match position(query.page, bound):
        case [value] if isinstance(value, kind):
            return value
        case _:
            raise invalid("page: not a cursor of this list")


def page(data: list[T], rest: Any, bound: list[Any]) -> Page[T]:
    """The answer of a list; `rest` is the position to go on from, None after the last page."""
    return Page(data=data, next_page=None if rest is None else cursor([rest], bound))
