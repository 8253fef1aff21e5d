"""Stores the bytes of one upload as they come, in chunks, and takes their hash."""

import hashlib
from typing import Final

import msgspec

from holdfast.bus.times import MINUTE_US
from holdfast.session.files.contents import Contents
from holdfast.session.files.records import CHUNK_BYTES, Content

RENEWAL_US: Final = 5 * MINUTE_US
"""Microseconds between two signs of life of an upload in the record of its content."""


class ContentWriter:
    """Has at most one chunk in memory, beside the one that is being stored.

    Nothing is stored before the first chunk is full, or `finish`: a small upload that is refused leaves nothing behind.
    """

    def __init__(self, contents: Contents, tenant: str) -> None:
        self._contents = contents
        self._tenant = tenant
        self._content: Content | None = None
        self._revision = 0
        self._buffer = bytearray()
        self._index = 0
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def content_id(self) -> str:
        """The id of the content that was begun; empty if nothing is stored yet."""
        return self._content.id if self._content else ""

    async def write(self, data: bytes) -> None:
        """Take more bytes. Raises BusError, and ApiError 503 if the upload was given up meanwhile."""
        self.size += len(data)
        self._hash.update(data)
        self._buffer += data
        while len(self._buffer) >= CHUNK_BYTES:
            chunk = bytes(self._buffer[:CHUNK_BYTES])
            del self._buffer[:CHUNK_BYTES]
            await self._store(chunk)
        now = self._contents.now()
        if self._content is not None and now - self._content.at >= RENEWAL_US:
            await self._change(self._content, at=now)

    async def finish(self, file_id: str) -> Content:
        """The content that the file with that id has from now on: this one, or one with the same bytes.

        Raises as `write`.
        """
        sha256 = self._hash.hexdigest()
        shared = await self._contents.share(self._tenant, sha256, self.size, file_id)
        if shared is not None:
            return shared
        if self._buffer:
            await self._store(bytes(self._buffer))
            self._buffer.clear()
        stored = await self._change(
            await self._begun(),
            at=self._contents.now(),
            state="stored",
            size_bytes=self.size,
            sha256=sha256,
            refs=(file_id,),
        )
        await self._contents.announce(self._tenant, stored)
        return stored

    async def _begun(self) -> Content:
        """The content, whose record is stored before its first chunk: a chunk without a record would stay for ever."""
        if self._content is None:
            self._content, self._revision = await self._contents.begin(self._tenant)
        return self._content

    async def _store(self, chunk: bytes) -> None:
        content = await self._begun()
        await self._contents.chunks.put(self._tenant, content.id, self._index, chunk)
        self._index += 1

    async def _change(self, content: Content, **changes: object) -> Content:
        after = msgspec.structs.replace(content, **changes)
        self._revision = await self._contents.change(self._tenant, content, self._revision, after)
        self._content = after
        return after
