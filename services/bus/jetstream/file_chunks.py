"""The bytes of files in the stream `OBJ_files`, in chunks that are written once (rule 40).

A chunk is the message `$O.files.C.<tenant>.<content>.<index>`. The id of the content is new with each upload, so that
whoever erases one content never erases a chunk of another.
"""

from holdfast.bus import subjects
from holdfast.bus.errors import LostBody
from holdfast.bus.jetstream.erase import erase_all
from holdfast.bus.jetstream.requests import JetStreamClient, WrongLastSequence
from holdfast.bus.jetstream.retry import retry
from holdfast.bus.streams import FILES_STREAM


class NatsFileChunks:
    """`api.FileChunks` over NATS."""

    def __init__(self, client: JetStreamClient) -> None:
        self._client = client

    async def put(self, tenant: str, content: str, index: int, data: bytes) -> None:
        """See `api.FileChunks.put`."""
        await retry(self._client, self._put, subjects.file_chunk(tenant, content, index), data)

    async def _put(self, subject: str, data: bytes) -> None:
        try:
            await self._client.store(subject, data, {"Nats-Expected-Last-Subject-Sequence": "0"})
        except WrongLastSequence:
            return  # an earlier attempt was stored and its answer lost: nobody else writes this content

    async def get(self, tenant: str, content: str, index: int) -> bytes:
        """See `api.FileChunks.get`."""
        return await retry(self._client, self._get, subjects.file_chunk(tenant, content, index))

    async def _get(self, subject: str) -> bytes:
        found = await self._client.direct(FILES_STREAM, subject)
        if found is None:  # a replica may lag behind the writer
            found = await self._client.leader(FILES_STREAM, {"last_by_subj": subject})
        if found is None:
            raise LostBody(f"the chunk {subject} is not in the object store")
        return found.data

    async def erase(self, tenant: str, content: str) -> int:
        """See `api.FileChunks.erase`."""
        return await erase_all(self._client, FILES_STREAM, subjects.file_chunks(tenant, content))
