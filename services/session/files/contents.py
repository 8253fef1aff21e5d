"""The bytes of files: shared by files of a tenant that have the same, erased with the last one (rule 40).

The record of a content names its files, and is changed by compare-and-set alone. So of an upload that shares a content
and a delete that takes its last file one comes first, and the other sees it. A content that is being erased is never
used again: the same bytes are then uploaded under another id, whose chunks have other subjects.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from holdfast.bus.api import FileChunks, KeyValue
from holdfast.bus.errors import Conflict, Newer
from holdfast.bus.ids import new_id
from holdfast.bus.streams import FILE_CONTENTS
from holdfast.session.files.records import MAX_REFS, Content, ContentEntry
from holdfast.session.http.errors import ApiError, unavailable
from holdfast.session.storage.kv_store import KvStore


class Contents:
    """`now` is the clock, in microseconds since 1970. Every method raises BusError."""

    def __init__(self, kv: KeyValue, chunks: FileChunks, now: Callable[[], int]) -> None:
        self._kv = kv
        self.chunks: Final = chunks
        self.now: Final = now
        self.objects: Final = KvStore(kv, FILE_CONTENTS, Content, label="content", entry=ContentEntry)
        self.to_erase: Final = asyncio.Event()
        """Set when this process has left a content to be erased."""

    async def begin(self, tenant: str) -> tuple[Content, int]:
        """A new content whose bytes are about to be stored, and the revision of its record."""
        now = self.now()
        content = Content(id=new_id("cont"), state="uploading", created_at=now, at=now)
        return content, await self.objects.put(tenant, content.id, content, 0)

    async def change(self, tenant: str, before: Content, revision: int, after: Content) -> int:
        """Store `after` over that revision. Raises ApiError 503 if somebody else has changed it: it was collected."""
        try:
            return await self.objects.put(tenant, before.id, after, revision)
        except Conflict:
            raise unavailable("the upload took too long and was given up; send it again") from None

    async def share(self, tenant: str, sha256: str, size: int, file_id: str) -> Content | None:
        """The stored content with these bytes, which that file has from now on; None if there is none to share."""
        found = await self._indexed(tenant, sha256)
        if found is None or found[0].state != "stored" or (found[0].sha256, found[0].size_bytes) != (sha256, size):
            return None
        content, revision = found
        if len(content.refs) >= MAX_REFS:
            return None
        shared = msgspec.structs.replace(content, refs=(*content.refs, file_id), at=self.now())
        try:
            await self.objects.put(tenant, content.id, shared, revision)
        except Conflict:
            return None  # others share it or give it up at this moment: the bytes are stored once more
        return shared

    async def _indexed(self, tenant: str, sha256: str) -> tuple[Content, int] | None:
        """The content that the index names, with its revision; None also for one that only a newer version can read."""
        index = await self._kv.get(FILE_CONTENTS, _index(tenant, sha256))
        if index is None or index.value is None:
            return None
        try:
            return await self.objects.find(tenant, index.value.decode())
        except Newer:
            return None

    async def announce(self, tenant: str, content: Content) -> None:
        """Let later uploads find the content by its bytes."""
        await self._kv.put(FILE_CONTENTS, _index(tenant, content.sha256), content.id.encode())

    async def get(self, tenant: str, content_id: str) -> Content | None:
        """The content, as the leader has it; None if there is none, or it is being erased."""
        found = await self.objects.find(tenant, content_id)
        return found[0] if found and found[0].state == "stored" else None

    async def release(self, tenant: str, content_id: str, file_id: str) -> None:
        """That file is gone; safe to repeat. The content is to be erased with its last file."""
        now = self.now()

        async def decide(content: Content) -> Content:
            return content.without(file_id, now)

        await self._update(tenant, content_id, decide)

    async def give_up(self, tenant: str, content_id: str, *, silent_since: int | None = None) -> None:
        """An upload has failed: its content is to be erased. Safe to repeat.

        With `silent_since` only if there was no later sign of life of it.
        """
        now = self.now()

        async def decide(content: Content) -> Content:
            if content.state != "uploading" or (silent_since is not None and content.at > silent_since):
                return content
            return msgspec.structs.replace(content, state="erasing", at=now)

        await self._update(tenant, content_id, decide)

    async def erase(self, tenant: str, content_id: str, *, for_good: bool) -> int:
        """Erase the chunks of a content that no file has; returns how many. `for_good`: its record too."""
        found = await self.objects.find(tenant, content_id)
        if found is None or found[0].state != "erasing":
            return 0
        erased = await self.chunks.erase(tenant, content_id)
        if for_good:
            await self._forget(tenant, found[0])
        return erased

    async def _forget(self, tenant: str, content: Content) -> None:
        if content.sha256:
            index = await self._kv.get(FILE_CONTENTS, _index(tenant, content.sha256))
            if index is not None and index.value == content.id.encode():
                await self._kv.delete(FILE_CONTENTS, _index(tenant, content.sha256))
        await self.objects.remove(tenant, content.id)

    async def _update(self, tenant: str, content_id: str, decide: Callable[[Content], Awaitable[Content]]) -> None:
        try:
            content = await self.objects.update(tenant, content_id, decide)
        except ApiError as exc:
            if exc.status != 404:
                raise
            return
        if content.state == "erasing":
            self.to_erase.set()


def _index(tenant: str, sha256: str) -> str:
    """The key that says which content has these bytes."""
    return f"{tenant}.sha256.{sha256}"
