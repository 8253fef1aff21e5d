"""What is stored of files and of their bytes, in two buckets (rule 40).

Several files may have the same bytes: the same file that was uploaded twice, and later its copies in sessions.
"""

from typing import Final, Literal

import msgspec

from holdfast.session.files.schema import FileObject, ScopeObject
from holdfast.session.http import timestamps
from holdfast.session.storage.kv_store import ListEntry

CHUNK_BYTES: Final = 1024 * 1024
"""Size of the chunks of new contents; the record of each names its own."""

MAX_REFS: Final = 1_000
"""Files that share a content. The record names each of them; the next one brings its own bytes."""

State = Literal["uploading", "stored", "erasing"]
"""A content is stored once, and erased when no file has it any more. It never comes back from `erasing`."""


class FileEntry(ListEntry, frozen=True):
    """The fields of a file that are kept in memory. Times in microseconds."""

    size_bytes: int = 0
    scope_id: str | None = None
    expires_at: int | None = None
    content: str = ""


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it is stored: written once, never changed. Times in microseconds."""

    v: int = 1
    id: str
    filename: str
    mime_type: str
    size_bytes: int
    content: str
    """The id of its content."""
    created_at: int
    expires_at: int | None = None
    scope_id: str | None = None
    """The session to which it belongs; None for one that a client has uploaded."""

    def has_expired(self, now: int) -> bool:
        """Whether its bytes are unavailable for good."""
        return self.expires_at is not None and now >= self.expires_at

    def to_api(self) -> FileObject:
        """The object that clients see."""
        return FileObject(
            id=self.id,
            type="file",
            filename=self.filename,
            mime_type=self.mime_type,
            size_bytes=self.size_bytes,
            created_at=timestamps.text(self.created_at),
            downloadable=True,
            expires_at=timestamps.text_or_none(self.expires_at),
            scope=ScopeObject(id=self.scope_id, type="session") if self.scope_id else None,
        )


class ContentEntry(ListEntry, frozen=True):
    """The fields of a content that are kept in memory."""

    state: State = "uploading"
    at: int = 0
    refs: tuple[str, ...] = ()


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of one or more files. Times in microseconds."""

    v: int = 1
    id: str
    state: State
    created_at: int
    at: int
    """Uploading: the last sign of life of the upload. Else when the record was changed last."""
    chunk_bytes: int = CHUNK_BYTES
    size_bytes: int = 0
    sha256: str = ""
    """In hexadecimal; empty while it is uploaded."""
    refs: tuple[str, ...] = ()
    """The ids of the files that have it."""

    @property
    def chunks(self) -> int:
        """How many chunks there are: none of an empty file."""
        return -(-self.size_bytes // self.chunk_bytes)

    def chunk_size(self, index: int) -> int:
        """Bytes of that chunk."""
        return min(self.chunk_bytes, self.size_bytes - index * self.chunk_bytes)

    def without(self, file_id: str, now: int) -> "Content":
        """The content after that file is gone: erased with the last one."""
        if file_id not in self.refs:
            return self
        refs = tuple(ref for ref in self.refs if ref != file_id)
        return msgspec.structs.replace(self, refs=refs, at=now, state=self.state if refs else "erasing")
