"""Receives a file: from the form in the body of a request to a stored file, with bounded memory."""

from collections.abc import Callable
from typing import Any, Final

from holdfast.bus.ids import new_id
from holdfast.bus.times import SECOND_US
from holdfast.process.faults import point
from holdfast.session.files import names
from holdfast.session.files.content_writer import ContentWriter
from holdfast.session.files.contents import Contents
from holdfast.session.files.records import Content, File
from holdfast.session.files.schema import UploadFields
from holdfast.session.files.store import FileStore
from holdfast.session.files.upload_room import Reservation, UploadRoom
from holdfast.session.http.body import RequestBody
from holdfast.session.http.decoding import read_query
from holdfast.session.http.errors import invalid, unavailable
from holdfast.session.http.form import FormParser, Part, PartEnd, Piece, fields_of

MAX_FIELD_BYTES: Final = 1024
"""Bytes of a field that is no file."""


class Uploads:
    """`given_up(tenant, content)` is called with an upload that has failed, whose bytes are to be erased."""

    def __init__(
        self, files: FileStore, contents: Contents, room: UploadRoom, *, given_up: Callable[[str, str], None]
    ) -> None:
        self._files = files
        self._contents = contents
        self._room = room
        self._given_up = given_up

    async def receive(self, tenant: str, body: RequestBody, content_type: str) -> File:
        """Store the file in the body. Raises ApiError 400, 408, 413, 429, 503 and 507, BusError, ClientDisconnected."""
        form = FormParser(content_type)
        with self._room.upload(tenant, body.declared_bytes) as reservation:
            upload = _Upload(self._contents, tenant, reservation)
            kept = False
            try:
                async for data in body.pieces(self._room.body_bytes):
                    for piece in form.feed(data):
                        await upload.take(piece)
                form.finish()
                file, content = await upload.finish()
                point("session.file_content_stored")
                await self._keep(tenant, file)
                kept = content.id == upload.content_id
            finally:
                if upload.content_id and not kept:
                    self._given_up(tenant, upload.content_id)
        return file

    async def _keep(self, tenant: str, file: File) -> None:
        """Store the file whose content is stored and names it.

        The content is looked at once more after it: a content that names a file which is not there for an hour is
        released, so that a process that was frozen meanwhile must not leave a file without bytes.
        """
        await self._files.put(tenant, file)
        content = await self._contents.get(tenant, file.content)
        if content is None or file.id not in content.refs:
            await self._files.erase(tenant, file.id)
            raise unavailable("the upload took too long and was given up; send it again")


class _Upload:
    """One form: which part it is in, and what was read of it."""

    def __init__(self, contents: Contents, tenant: str, reservation: Reservation) -> None:
        self._contents = contents
        self._tenant = tenant
        self._reservation = reservation
        self._writer: ContentWriter | None = None
        self._part: Part | None = None
        self._file: Part | None = None
        self._fields: list[tuple[str, bytes]] = []
        self._field = bytearray()
        self._params = UploadFields()

    @property
    def content_id(self) -> str:
        """The id of the content that was begun; empty if nothing is stored yet."""
        return self._writer.content_id if self._writer else ""

    async def take(self, piece: Piece) -> None:
        """Raises as `Uploads.receive`."""
        match piece:
            case Part():
                self._begin(piece)
            case PartEnd():
                self._end()
            case bytes():
                await self._add(piece)

    def _begin(self, part: Part) -> None:
        self._part = part
        self._field.clear()
        if part.name != "file":
            if part.filename is not None:
                raise invalid(f"{part.name[:100]}: only `file` may be a file")
            return
        if self._file is not None:
            raise invalid("file: given more than once")
        self._file = part
        self._named()
        self._writer = ContentWriter(self._contents, self._tenant)

    async def _add(self, data: bytes) -> None:
        if self._writer is not None and self._part is self._file:
            self._reservation.grow(len(data))
            await self._writer.write(data)
            return
        self._field += data
        if len(self._field) > MAX_FIELD_BYTES:
            raise invalid(f"{self._part.name[:100] if self._part else ''}: longer than {MAX_FIELD_BYTES} bytes")

    def _end(self) -> None:
        if self._part is not None and self._part is not self._file:
            self._fields.append((self._part.name, bytes(self._field)))
            values: dict[str, Any] = fields_of(self._fields)
            self._params = read_query(list(values.items()), UploadFields)
        self._part = None

    def _named(self) -> tuple[str, str]:
        """Name and media type of the file. Raises ApiError 400."""
        assert self._file is not None
        given = self._file.filename or ""
        media_type = names.mime_type(self._file.content_type, given)
        return names.file_name(given, media_type), media_type

    async def finish(self) -> tuple[File, Content]:
        """The file, which is not stored yet, and its content, which is."""
        if self._writer is None:
            raise invalid("file: missing")
        name, media_type = self._named()
        file_id = new_id("file")
        content = await self._writer.finish(file_id)
        now, seconds = self._contents.now(), self._params.expires_in_seconds
        file = File(
            id=file_id,
            filename=name,
            mime_type=media_type,
            size_bytes=self._writer.size,
            content=content.id,
            created_at=now,
            expires_at=None if seconds is None else now + seconds * SECOND_US,
        )
        return file, content
