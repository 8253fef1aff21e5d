"""The parts of the resource `files`, put together."""

from collections.abc import Callable, Sequence
from typing import Self

import msgspec

from holdfast.bus.api import FileChunks, KeyValue
from holdfast.session.events.disk_space import DiskSpaceCheck
from holdfast.session.files import routes as file_routes
from holdfast.session.files.contents import Contents
from holdfast.session.files.routes import FileHandlers
from holdfast.session.files.store import FileStore
from holdfast.session.files.upload_room import UploadLimits, UploadRoom
from holdfast.session.files.uploads import Uploads
from holdfast.session.http.routing import Route
from holdfast.session.jobs.file_sweeper import FileSweeper
from holdfast.session.settings import SessionSettings


class FileParts(msgspec.Struct, frozen=True):
    store: FileStore
    contents: Contents
    sweeper: FileSweeper
    routes: Sequence[Route]

    @classmethod
    def of(
        cls,
        kv: KeyValue,
        chunks: FileChunks,
        settings: SessionSettings,
        disk: DiskSpaceCheck,
        now: Callable[[], int],
    ) -> Self:
        """`now` is the clock, in microseconds since 1970."""
        store, contents = FileStore(kv), Contents(kv, chunks, now)
        sweeper = FileSweeper(store, contents, settings.disk_folder)
        limits = UploadLimits(
            file_bytes=settings.file_limit,
            tenant_files=settings.tenant_files,
            tenant_bytes=settings.tenant_files_bytes,
            uploads=settings.uploads,
        )
        room = UploadRoom(limits, store.usage, disk.room_for_files)
        uploads = Uploads(store, contents, room, given_up=sweeper.give_up)
        return cls(store, contents, sweeper, file_routes.routes(FileHandlers(store, contents, uploads)))
