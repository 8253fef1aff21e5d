"""Stores the bytes of one upload as they come, in chunks, and takes their hash."""

import hashlib
from typing import Final

import msgspec

from holdfast.bus.times import MINUTE_US
from holdfast.session.files.contents import Contents
from holdfast.session.files.records import Content

RENEWAL_US: Final = 5 * MINUTE_US
"""Microseconds between two signs of life of an upload in the record of its content."""


class ContentWriter:
    """Has at most one chunk in memory, beside the one that is being stored."""

    def __init__(self, contents: Contents, tenant: str, content: Content, revision: int) -> None:
        self._contents = contents
        self._tenant = tenant
        self._content = content
        self._revision = revision
        self._buffer = bytearray()
        self._index = 0
        self._hash = hashlib.sha256()
        self.size = 0

    @classmethod
    async def begin(cls, contents: Contents, tenant: str) -> "ContentWriter":
        """Raises BusError."""
        return cls(contents, tenant, *await contents.begin(tenant))

    @property
    def content_id(self) -> str:
        return self._content.id

    async def write(self, data: bytes) -> None:
        """Take more bytes. Raises BusError, and ApiError 503 if the upload was given up meanwhile."""
        self.size += len(data)
        self._buffer += data
        size = self._content.chunk_bytes
        while len(self._buffer) >= size:
            chunk = bytes(self._buffer[:size])
            del self._buffer[:size]
            await self._store(chunk)
        now = self._contents.now()
        if now - self._content.at >= RENEWAL_US:
            await self._change(msgspec.structs.replace(self._content, at=now))

    async def finish(self, file_id: str) -> Content:
        """The content that the file with that id has from now on: this one, or one with the same bytes. Raises as
        `write`.
        """
        if self._buffer:
            await self._store(bytes(self._buffer))
            self._buffer.clear()
        sha256 = self._hash.hexdigest()
        shared = await self._contents.share(self._tenant, sha256, self.size, file_id)
        if shared is not None:
            return shared
        stored = msgspec.structs.replace(
            self._content,
            state="stored",
            at=self._contents.now(),
            size_bytes=self.size,
            sha256=sha256,
            refs=(file_id,),
        )
        await self._change(stored)
        await self._contents.announce(self._tenant, stored)
        return stored

    async def _store(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        await self._contents.chunks.put(self._tenant, self._content.id, self._index, chunk)
        self._index += 1

    async def _change(self, after: Content) -> None:
        self._revision = await self._contents.change(self._tenant, self._content, self._revision, after)
        self._content = after
