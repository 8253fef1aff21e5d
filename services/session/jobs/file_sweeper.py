"""Erases the bytes of files that nobody has any more, and gives up what died half-way (rule 40).

Everything here is decided from the records, and safe to repeat: each replica does it, and any of them may die.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final, cast

import structlog

from holdfast.bus.errors import BusError
from holdfast.bus.ids import time_of
from holdfast.bus.streams import DEDUPLICATION_WINDOW_S
from holdfast.bus.times import MINUTE_US, SECOND_US
from holdfast.process import disk
from holdfast.session.files.contents import Contents
from holdfast.session.files.records import ContentEntry, FileEntry
from holdfast.session.files.store import FileStore
from holdfast.session.http.errors import ApiError
from holdfast.session.jobs.eraser import ROOM_BYTES

ROUND_INTERVAL_S: Final = 60.0
"""Seconds between two rounds; a deletion by this process starts one at once."""

SILENT_UPLOAD_US: Final = 60 * MINUTE_US
"""Microseconds without a sign of life (`RENEWAL_US`) after which an upload is given up: its process has died."""

MISSING_FILE_US: Final = 60 * MINUTE_US
"""Microseconds after which a file that a content names, and that is not there, will not come any more."""

SECOND_PASS_US: Final = 2 * DEDUPLICATION_WINDOW_S * SECOND_US
"""Microseconds after which a content is erased for the last time: who was about to store a chunk has given up."""

EXPIRED_RECORD_US: Final = 30 * 24 * 60 * MINUTE_US
"""Microseconds for which it can be read that a file has expired."""

ERASED_AT_ONCE: Final = 4
"""Contents that are erased side by side, so that a small one need not wait for a large one."""

_log = structlog.get_logger()


class FileSweeper:
    """`disk_folder` as in SessionSettings."""

    def __init__(self, files: FileStore, contents: Contents, disk_folder: str = "") -> None:
        self._files = files
        self._contents = contents
        self._disk_folder = disk_folder
        self._given_up: list[tuple[str, str]] = []
        self._released: set[str] = set()
        """Expired files whose bytes this process has released."""
        self._running: set[str] = set()
        self._slots = asyncio.Semaphore(ERASED_AT_ONCE)

    def give_up(self, tenant: str, content_id: str) -> None:
        """Erase the bytes of an upload that has failed, or that stored what was stored already."""
        self._given_up.append((tenant, content_id))
        self._contents.to_erase.set()

    async def run(self) -> None:
        """Make rounds until cancelled. A round does not wait for the contents that it begins to erase."""
        await self._files.objects.ready()
        await self._contents.objects.ready()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._contents.to_erase.clear()
                now = self._contents.now()
                await self.decide(now)
                for tenant, content_id, for_good in self.due(now):
                    self._running.add(content_id)
                    tasks.create_task(self._erase(tenant, content_id, for_good=for_good))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ROUND_INTERVAL_S):
                        await self._contents.to_erase.wait()

    async def decide(self, now: int) -> None:
        """Give up and release what nobody has any more at `now`; what fails is left to the next round."""
        given_up, self._given_up = self._given_up, []
        for tenant, content_id in given_up:
            if not await self._attempt(self._contents.give_up(tenant, content_id)):
                self._given_up.append((tenant, content_id))
        for tenant, content_id, entry in self._all_contents():
            if entry.state == "uploading" and entry.at < now - SILENT_UPLOAD_US:
                await self._attempt(self._contents.give_up(tenant, content_id, silent_since=entry.at))
            for ref in self._missing(tenant, entry, now):
                await self._attempt(self._release_missing(tenant, content_id, ref))
        for tenant, file_id, listed in self._files.objects.entries():
            file = cast("FileEntry", listed)
            if file.expires_at is not None and now >= file.expires_at:
                await self._attempt(self._expire(tenant, file_id, file, now))

    @staticmethod
    async def _attempt(work: Coroutine[Any, Any, None]) -> bool:
        """Whether it could be done now."""
        try:
            await work
        except (BusError, ApiError) as exc:
            _log.warning("files are left to the next round", cause=str(exc))
            return False
        return True

    def _all_contents(self) -> list[tuple[str, str, ContentEntry]]:
        return [(tenant, one, cast("ContentEntry", entry)) for tenant, one, entry in self._contents.objects.entries()]

    def _missing(self, tenant: str, entry: ContentEntry, now: int) -> list[str]:
        """The files of a stored content that are not in the list, and will not come any more."""
        if entry.state != "stored":
            return []
        before = now - MISSING_FILE_US
        knows = self._files.objects.knows
        return [ref for ref in entry.refs if not knows(tenant, ref) and (time_of(ref) or 0) < before]

    async def _release_missing(self, tenant: str, content_id: str, file_id: str) -> None:
        """Release the content of a file that the leader does not have: its deletion, or its upload, died half-way."""
        if await self._files.objects.find(tenant, file_id) is None:
            await self._contents.release(tenant, content_id, file_id)

    async def _expire(self, tenant: str, file_id: str, entry: FileEntry, now: int) -> None:
        """Release the bytes of an expired file, and forget it in the end."""
        if file_id not in self._released:
            await self._contents.release(tenant, entry.content, file_id)
            self._released.add(file_id)
        if entry.expires_at is not None and now >= entry.expires_at + EXPIRED_RECORD_US:
            await self._files.erase(tenant, file_id)
            self._released.discard(file_id)

    def due(self, now: int) -> list[tuple[str, str, bool]]:
        """Tenant and id of the contents to erase at `now`, and whether it is for the last time."""
        if self._disk_folder and disk.space(self._disk_folder).free < ROOM_BYTES:
            return []
        return [
            (tenant, one, now - entry.at >= SECOND_PASS_US)
            for tenant, one, entry in self._all_contents()
            if entry.state == "erasing" and one not in self._running
        ]

    async def _erase(self, tenant: str, content_id: str, *, for_good: bool) -> None:
        try:
            async with self._slots:
                count = await self._contents.erase(tenant, content_id, for_good=for_good)
            if count:
                _log.info("bytes of files erased", content=content_id, chunks=count)
        except BusError as exc:
            _log.warning("bytes of files not erased", content=content_id, cause=str(exc))
        finally:
            self._running.discard(content_id)
