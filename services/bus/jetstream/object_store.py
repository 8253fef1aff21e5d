"""The object store of a cell: the large bodies of each session by their SHA-256, in chunks, written once.

A chunk is the message `$O.blobs.C.<cell>.<tenant>.<session>.<ref>.<index>`, stored only if that subject is empty.
Chunks are written in order, so that the last chunk proves that all are stored. There is no index: the ref and the size
give the subjects of the chunks. Sessions share no body, so that a deleted one takes all of its own with it.
"""

import asyncio
import hashlib

from holdfast.bus import streams, subjects
from holdfast.bus.codec import Body
from holdfast.bus.errors import LostBody
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.erase import erase_all
from holdfast.bus.jetstream.requests import JetStreamClient, WrongLastSequence
from holdfast.bus.jetstream.retry import retry

CHUNK_BYTES = 1024 * 1024
"""Size of a chunk; part of the stored format, never to be changed."""


def _subject(key: Key, ref: str, index: int) -> str:
    return f"$O.{streams.BLOBS}.C.{subjects.body_key(key)}.{ref}.{index}"


class Blobs:
    def __init__(self, client: JetStreamClient) -> None:
        self._client = client

    async def put(self, key: Key, body: Body) -> None:
        """Store the body unless it is stored already. Raises Unavailable."""
        for index, start in enumerate(range(0, len(body.data), CHUNK_BYTES)):
            chunk = body.data[start : start + CHUNK_BYTES]
            await retry(self._client, self._put_chunk, _subject(key, body.ref, index), chunk)

    async def _put_chunk(self, subject: str, chunk: bytes) -> None:
        try:
            await self._client.store(subject, chunk, {"Nats-Expected-Last-Subject-Sequence": "0"})
        except WrongLastSequence:
            return  # stored already: the subject contains the hash of the content

    async def get(self, key: Key, ref: str, size: int) -> bytes:
        """The body. Raises LostBody if the leader does not have all of it either, Unavailable."""
        count = max(1, -(-size // CHUNK_BYTES))
        chunks = await asyncio.gather(*(retry(self._client, self._get_chunk, key, ref, i) for i in range(count)))
        data = b"".join(chunks)
        if len(data) != size or hashlib.sha256(data).hexdigest() != ref:
            raise LostBody(f"the body {ref} is not in the object store")
        return data

    async def get_all(self, key: Key, wanted: list[tuple[str, int]]) -> dict[str, bytes]:
        """Bodies by ref, for (ref, size). Raises LostBody, Unavailable."""
        return {ref: await self.get(key, ref, size) for ref, size in dict(wanted).items()}

    async def erase_all(self, key: Key) -> int:
        """Erase every body of the session; returns how many chunks that were. Raises Unavailable."""
        subject = f"$O.{streams.BLOBS}.C.{subjects.body_key(key)}.>"
        return await erase_all(self._client, streams.blob_stream(key.cell), subject)

    async def _get_chunk(self, key: Key, ref: str, index: int) -> bytes:
        stream, subject = streams.blob_stream(key.cell), _subject(key, ref, index)
        found = await self._client.direct(stream, subject)
        if found is None:  # a replica may lag behind the writer
            found = await self._client.leader(stream, {"last_by_subj": subject})
        return found.data if found else b""
