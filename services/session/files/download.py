"""The answer with the bytes of a file, read chunk by chunk as the client takes them."""

import hashlib
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from holdfast.bus.errors import LostBody
from holdfast.session.files.contents import Contents
from holdfast.session.files.records import Content, File

_ALWAYS: Final = {
    "cache-control": "private, no-store",
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
}
"""A browser must neither run what somebody has uploaded under the address of the API, nor take it for another type."""


async def download(contents: Contents, tenant: str, file: File, content: Content, *, head_only: bool) -> Response:
    """The answer. Its first chunk has been read, so that a content that is lost is an error and no empty answer.

    One that is damaged further back ends the answer early, which the client sees by the declared length. Raises
    LostBody, Unavailable.
    """
    headers = {
        **_ALWAYS,
        "content-type": file.mime_type,  # as it is: Starlette would add a charset, which nobody knows
        "content-length": str(content.size_bytes),
        "content-disposition": _disposition(file.filename),
    }
    if head_only or not content.chunks:
        return Response(b"", headers=headers)
    first = await _chunk(contents, tenant, content, 0)
    return StreamingResponse(_bytes(contents, tenant, content, first), headers=headers)


async def _bytes(contents: Contents, tenant: str, content: Content, first: bytes) -> AsyncIterator[bytes]:
    """All bytes of the content. The last chunk is sent only if they are those that were uploaded."""
    found, chunk = hashlib.sha256(), first
    for index in range(content.chunks):
        if index:
            chunk = await _chunk(contents, tenant, content, index)
        found.update(chunk)
        if index == content.chunks - 1 and found.hexdigest() != content.sha256:
            raise LostBody(f"the content {content.id} is damaged")
        yield chunk


async def _chunk(contents: Contents, tenant: str, content: Content, index: int) -> bytes:
    chunk = await contents.chunks.get(tenant, content.id, index)
    if len(chunk) != content.chunk_size(index):
        raise LostBody(f"the chunk {index} of the content {content.id} is damaged")
    return chunk


def _disposition(filename: str) -> str:
    """The header that gives the file its name, in the two forms of RFC 6266."""
    plain = "".join(c if 32 <= ord(c) < 127 and c not in '"\\%' else "_" for c in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
