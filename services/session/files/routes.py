"""`/v1/files`."""

from starlette.responses import Response

from holdfast.session.files.contents import Contents
from holdfast.session.files.download import download
from holdfast.session.files.schema import DEFAULT_LIMIT, DeletedFile, FileObject, ListQuery, UploadFields
from holdfast.session.files.store import FileStore
from holdfast.session.files.uploads import Uploads
from holdfast.session.http import pagination
from holdfast.session.http.errors import damaged, file_expired, not_found
from holdfast.session.http.pagination import Page, PageQuery
from holdfast.session.http.routing import Call, Route


class FileHandlers:
    def __init__(self, store: FileStore, contents: Contents, uploads: Uploads) -> None:
        self._store = store
        self._contents = contents
        self._uploads = uploads

    async def upload(self, call: Call) -> FileObject:
        """Upload a file. Only the last component of its filename is kept."""
        content_type = call.request.headers.get("content-type", "")
        return (await self._uploads.receive(call.tenant, call.body, content_type)).to_api()

    async def retrieve(self, call: Call) -> FileObject:
        """Retrieve what is known of a file, without its bytes."""
        return (await self._store.get(call.tenant, call.id("file_id"))).to_api()

    async def download(self, call: Call) -> Response:
        """Download the bytes of a file."""
        file = await self._store.get(call.tenant, call.id("file_id"))
        if file.has_expired(self._contents.now()):
            raise file_expired()
        content = await self._contents.get(call.tenant, file.content)
        if content is None:
            if await self._store.objects.find(call.tenant, file.id) is None:
                raise not_found("file")  # it was deleted meanwhile
            raise damaged()
        head_only = call.request.method == "HEAD"
        return await download(self._contents, call.tenant, file, content, head_only=head_only)

    async def delete(self, call: Call) -> DeletedFile:
        """Delete a file for good. Its bytes are erased, unless another file has the same."""
        file_id = call.id("file_id")
        file = await self._store.erase(call.tenant, file_id)
        await self._contents.release(call.tenant, file.content, file_id)
        return DeletedFile(id=file_id, type="file_deleted")

    async def list_files(self, call: Call) -> Page[FileObject]:
        """List files, newest first."""
        query: ListQuery = call.query
        ids = query.asked_ids()
        if ids is not None:
            found = await self._store.some(call.tenant, ids, query.scope_id)
            return Page(data=[file.to_api() for file in found], next_page=None)
        bound = ["files", call.tenant, query.scope_id]
        below = pagination.position_of(PageQuery(page=query.page), bound, str)
        found, rest = await self._store.newest(
            call.tenant, below=below, limit=query.limit or DEFAULT_LIMIT, scope_id=query.scope_id
        )
        return pagination.page([file.to_api() for file in found], rest, bound)


def routes(handlers: FileHandlers) -> list[Route]:
    files, file = "/v1/files", "/v1/files/{file_id}"
    shape, page = FileObject, Page[FileObject]
    return [
        Route(method="POST", path=files, handle=handlers.upload, upload=UploadFields, answer=shape),
        Route(method="GET", path=files, handle=handlers.list_files, query=ListQuery, answer=page),
        Route(method="GET", path=file, handle=handlers.retrieve, answer=shape),
        Route(method="GET", path=f"{file}/content", handle=handlers.download, download=True),
        Route(method="DELETE", path=file, handle=handlers.delete, answer=DeletedFile),
    ]
