"""Who has which bytes: sharing, the last delete, uploads and deletes at once, and what a death leaves (rule 40)."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from holdfast.bus.errors import Newer
from holdfast.bus.ids import new_id, time_of
from holdfast.bus.times import MINUTE_US, SECOND_US
from holdfast.session.files.content_writer import RENEWAL_US, ContentWriter
from holdfast.session.files.contents import Contents
from holdfast.session.files.records import CHUNK_BYTES, MAX_REFS, Content, File
from holdfast.session.files.store import FileStore
from holdfast.session.http.errors import ApiError
from holdfast.session.jobs.file_sweeper import EXPIRED_RECORD_US, MISSING_FILE_US, SECOND_PASS_US, FileSweeper
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.support.memory_chunks import MemoryFileChunks

T = "t"


class Rig:
    """The store of files over a bus in memory, at a time that the test sets."""

    def __init__(self) -> None:
        self.at = time_of(new_id("x")) or 0  # ids tell the time of this machine
        self.kv = MemoryBus(MemoryServer(), "test").kv
        self.chunks = MemoryFileChunks()
        self.files = FileStore(self.kv)
        self.contents = Contents(self.kv, self.chunks, lambda: self.at)
        self.sweeper = FileSweeper(self.files, self.contents)

    async def store(self, data: bytes, file_id: str) -> Content:
        writer = ContentWriter(self.contents, T)
        await writer.write(data)
        content = await writer.finish(file_id)
        if writer.content_id and content.id != writer.content_id:
            self.sweeper.give_up(T, writer.content_id)
        return content

    async def file(self, data: bytes, *, expires_at: int | None = None, file_id: str | None = None) -> File:
        file_id = file_id or new_id("file")
        content = await self.store(data, file_id)
        file = File(
            id=file_id, filename="a", mime_type="text/plain", size_bytes=len(data), content=content.id,
            created_at=self.at, expires_at=expires_at,
        )  # fmt: skip
        await self.files.put(T, file)
        return file

    async def delete(self, file: File) -> None:
        await self.files.erase(T, file.id)
        await self.contents.release(T, file.content, file.id)

    async def sweep(self) -> None:
        """One round, with all that it begins."""
        await self.sweeper.decide(self.at)
        for tenant, content, for_good in self.sweeper.due(self.at):
            await self.contents.erase(tenant, content, for_good=for_good)

    async def state(self, content_id: str) -> str | None:
        found = await self.contents.objects.find(T, content_id)
        return found[0].state if found else None

    def bytes_of(self, content_id: str) -> bytes:
        return b"".join(data for _, data in sorted(self.chunks.stored.get((T, content_id), {}).items()))


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    follows = [asyncio.create_task(one.follow()) for one in (made.files.objects, made.contents.objects)]
    await made.files.objects.ready()
    await made.contents.objects.ready()
    yield made
    for follow in follows:
        follow.cancel()


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 5])
async def test_the_chunks_are_the_bytes(rig: Rig, size: int) -> None:
    data = hashlib.shake_128(b"x").digest(size)
    writer = ContentWriter(rig.contents, T)
    for start in range(0, size, 60_000):
        await writer.write(data[start : start + 60_000])
    content = await writer.finish("file_1")
    assert (content.state, content.size_bytes, content.refs) == ("stored", size, ("file_1",))
    assert content.sha256 == hashlib.sha256(data).hexdigest()
    assert rig.bytes_of(content.id) == data
    assert [len(rig.chunks.stored[T, content.id][n]) for n in range(content.chunks)] == [
        content.chunk_size(n) for n in range(content.chunks)
    ]


async def test_the_same_bytes_are_stored_once_and_erased_with_the_last_file(rig: Rig) -> None:
    first, second = await rig.file(b"same"), await rig.file(b"same")
    assert first.content == second.content
    assert len(rig.chunks.stored) == 1
    await rig.delete(first)
    await rig.sweep()
    assert rig.bytes_of(second.content) == b"same"
    await rig.delete(second)
    await rig.sweep()
    assert not rig.chunks.stored
    assert await rig.state(second.content) == "erasing"
    rig.at += SECOND_PASS_US
    await rig.sweep()
    assert await rig.state(second.content) is None


async def test_large_bytes_that_are_there_already_are_stored_once_in_the_end(rig: Rig) -> None:
    data = b"x" * (2 * CHUNK_BYTES + 1)
    first, second = await rig.file(data), await rig.file(data)
    assert first.content == second.content
    assert len(rig.chunks.stored) == 2
    await rig.sweep()
    assert set(rig.chunks.stored) == {(T, first.content)}


async def test_tenants_share_nothing(rig: Rig) -> None:
    mine = await rig.file(b"same")
    writer = ContentWriter(rig.contents, "other")
    await writer.write(b"same")
    theirs = await writer.finish("file_2")
    assert theirs.id != mine.content
    assert theirs.refs == ("file_2",)


async def test_bytes_that_are_being_erased_are_never_used_again(rig: Rig) -> None:
    first = await rig.file(b"same")
    await rig.delete(first)
    second = await rig.file(b"same")
    assert second.content != first.content
    rig.at += SECOND_PASS_US
    await rig.sweep()
    assert rig.bytes_of(second.content) == b"same"
    third = await rig.file(b"same")
    assert third.content == second.content, "the index names the newer one still"


async def test_an_upload_and_the_last_delete_at_once_leave_no_file_without_bytes(rig: Rig) -> None:
    for _ in range(20):
        before = await rig.file(b"same")
        _, after = await asyncio.gather(rig.delete(before), rig.file(b"same"))
        rig.at += SECOND_PASS_US
        await rig.sweep()
        await rig.sweep()
        assert rig.bytes_of(after.content) == b"same"
        await rig.delete(after)


async def test_a_content_names_only_so_many_files(rig: Rig) -> None:
    first = await rig.file(b"same")
    content, revision = await rig.contents.objects.get(T, first.content)
    full = msgspec.structs.replace(content, refs=tuple(f"file_{n}" for n in range(MAX_REFS)))
    await rig.contents.objects.put(T, content.id, full, revision)
    assert (await rig.file(b"same")).content != first.content


async def test_an_upload_that_died_is_erased_and_one_that_lives_is_not(rig: Rig) -> None:
    dead, alive = ContentWriter(rig.contents, T), ContentWriter(rig.contents, T)
    for writer in (dead, alive):
        await writer.write(b"x" * CHUNK_BYTES)
    for _ in range(15):
        rig.at += RENEWAL_US
        await alive.write(b"y")
        await rig.sweep()
    assert set(rig.chunks.stored) == {(T, alive.content_id)}
    assert (await alive.finish("file_1")).size_bytes == CHUNK_BYTES + 15
    with pytest.raises(ApiError, match="took too long") as refused:
        await dead.finish("file_2")
    assert refused.value.status == 503


async def test_a_delete_that_died_between_its_two_writes_is_finished(rig: Rig) -> None:
    made_long_ago = "file_" + "0" * 26
    file = await rig.file(b"left", file_id=made_long_ago)
    await rig.files.erase(T, file.id)
    await rig.sweep()
    assert not rig.chunks.stored


async def test_an_upload_that_died_before_its_file_is_undone_an_hour_later(rig: Rig) -> None:
    content = await rig.store(b"left", new_id("file"))
    await rig.sweep()
    assert rig.bytes_of(content.id) == b"left"
    rig.at += MISSING_FILE_US + SECOND_US
    await rig.sweep()
    assert not rig.chunks.stored


async def test_an_expired_file_loses_its_bytes_at_once_and_its_name_later(rig: Rig) -> None:
    file = await rig.file(b"short", expires_at=rig.at + MINUTE_US)
    other = await rig.file(b"long")
    await rig.sweep()
    assert rig.bytes_of(file.content) == b"short"
    rig.at += MINUTE_US
    await rig.sweep()
    assert set(rig.chunks.stored) == {(T, other.content)}
    assert await rig.files.get(T, file.id) == file
    rig.at += EXPIRED_RECORD_US
    await rig.sweep()
    with pytest.raises(ApiError, match="not found"):
        await rig.files.get(T, file.id)
    assert rig.files.usage(T).files == 1


async def test_usage_follows_what_is_stored_and_deleted(rig: Rig) -> None:
    assert (rig.files.usage(T).files, rig.files.usage(T).size_bytes) == (0, 0)
    first = await rig.file(b"12345")
    await rig.file(b"12345")
    assert (rig.files.usage(T).files, rig.files.usage(T).size_bytes) == (2, 10)
    await rig.delete(first)
    assert (rig.files.usage(T).files, rig.files.usage(T).size_bytes) == (1, 5)
    assert rig.files.usage("other").files == 0


async def test_a_content_of_a_newer_version_is_neither_shared_nor_erased(rig: Rig) -> None:
    first = await rig.file(b"same")
    entry = await rig.kv.get("file_contents", f"{T}.{first.content}")
    assert entry
    assert entry.value
    newer = msgspec.json.encode({**msgspec.json.decode(entry.value), "v": 99, "state": "erasing"})
    await rig.kv.update("file_contents", f"{T}.{first.content}", newer, entry.revision)
    second = await rig.file(b"same")
    assert second.content != first.content
    await rig.sweeper.decide(rig.at)
    with pytest.raises(Newer):
        await rig.contents.erase(T, first.content, for_good=True)
    assert rig.bytes_of(first.content) == b"same"
