"""The object store: bodies by their SHA-256, in chunks, written once.

A chunk is the message `$O.blobs.C.<ref>.<index>`, stored only if it is not there. Chunks are written in order, so the
last one proves all. CHUNK_BYTES is part of the format. There is no index: who knows the ref and the size knows the chunks.
"""

import asyncio
import hashlib

from holdfast.bus import streams
from holdfast.bus.codec import Body
from holdfast.bus.errors import Absent
from holdfast.bus.jetstream.requests import JetStreamClient, WrongLastSequence
from holdfast.bus.jetstream.retry import retry

CHUNK_BYTES = 1024 * 1024
_STREAM = f"OBJ_{streams.BLOBS}"


def _subject(ref: str, index: int) -> str:
    return f"$O.{streams.BLOBS}.C.{ref}.{index}"


class Blobs:
    def __init__(self, link: JetStreamClient) -> None:
        self._link = link

    async def put(self, body: Body) -> None:
        """Store it unless it is there. Raises Unavailable."""
        for index, start in enumerate(range(0, len(body.data), CHUNK_BYTES)):
            chunk = body.data[start : start + CHUNK_BYTES]
            await retry(self._link, self._put_chunk, _subject(body.ref, index), chunk)

    async def _put_chunk(self, subject: str, chunk: bytes) -> None:
        try:
            await self._link.store(subject, chunk, {"Nats-Expected-Last-Subject-Sequence": "0"})
        except WrongLastSequence:
            return  # it is there, and the subject names its content

    async def get(self, ref: str, size: int) -> bytes:
        """The body. Raises Absent when it is not there whole, Unavailable."""
        count = max(1, -(-size // CHUNK_BYTES))
        chunks = await asyncio.gather(*(retry(self._link, self._get_chunk, _subject(ref, i)) for i in range(count)))
        data = b"".join(chunks)
        if len(data) != size or hashlib.sha256(data).hexdigest() != ref:
            raise Absent(f"the body {ref} is not in the object store")
        return data

    async def get_all(self, wanted: list[tuple[str, int]]) -> dict[str, bytes]:
        """Bodies by ref, for (ref, size). Raises Absent, Unavailable."""
        return {ref: await self.get(ref, size) for ref, size in dict(wanted).items()}

    async def _get_chunk(self, subject: str) -> bytes:
        found = await self._link.direct(_STREAM, subject)
        if found is None:  # a replica may lag behind the writer
            found = await self._link.leader(_STREAM, {"last_by_subj": subject})
        return found.data if found else b""
