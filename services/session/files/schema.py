"""The shapes of files in the API. Pure."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from holdfast.session.http.errors import invalid
from holdfast.session.http.timestamps import TimeText

MAX_IDS: Final = 100
"""Ids in one query, without repetitions."""

DEFAULT_LIMIT: Final = 20
"""Files of a page when the query has no `limit`."""

Limit = Annotated[int, Meta(ge=1, le=1000)]
ExpiresIn = Annotated[int, Meta(ge=3600, le=7_776_000)]
"""Seconds: one hour to ninety days."""


class UploadFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of the form beside `file`."""

    expires_in_seconds: ExpiresIn | None = None


class ListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the list of files. `ids` gives one page, with those of the files that there are."""

    ids: list[str] | None = None
    limit: Limit | None = None
    page: str | None = None
    scope_id: str | None = None

    def asked_ids(self) -> list[str] | None:
        """The ids that are asked for, each once. Raises ApiError 400."""
        if self.ids is None:
            return None
        if self.limit is not None or self.page is not None:
            raise invalid("ids: cannot be combined with `limit` or `page`")
        ids = list(dict.fromkeys(self.ids))
        if len(ids) > MAX_IDS:
            raise invalid(f"ids: {len(ids)} ids; at most {MAX_IDS} are allowed")
        return ids


class ScopeObject(msgspec.Struct, frozen=True, kw_only=True):
    """The session to which a file belongs."""

    id: str
    type: Literal["session"]


class FileObject(msgspec.Struct, frozen=True, kw_only=True):
    """A file, without its bytes. `scope` is null for one that a client has uploaded."""

    id: str
    type: Literal["file"]
    filename: str
    mime_type: str
    size_bytes: int
    created_at: TimeText
    downloadable: bool
    expires_at: TimeText | None
    scope: ScopeObject | None


class DeletedFile(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: Literal["file_deleted"]
