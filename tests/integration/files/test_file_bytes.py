"""The bytes of files on the disk and in memory: shared, erased, bounded; after a death, beside a full disk."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import psutil
import pytest

from holdfast.bus.jetstream.client import NatsBus
from holdfast.process import clock
from holdfast.session.files.contents import Contents
from holdfast.session.files.records import CHUNK_BYTES
from holdfast.session.files.store import FileStore
from holdfast.session.jobs.file_sweeper import MISSING_FILE_US, SILENT_UPLOAD_US, FileSweeper
from tests.support.disk_search import all_on_disk, found_on_disk, nothing_on_disk
from tests.support.edge import SessionService, envelope, replica, session_service
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(120)

NAME, SMALL, LARGE, KEPT = "canary-name.txt", "canary-small-file", "canary-large-file", "canary-kept-file"
MIB = 1 << 20


def chunks_of(edge: SessionService) -> int:
    """Messages in the stream of bytes."""
    answer = httpx.get(f"http://{edge.monitor}/jsz?streams=true&accounts=true").json()
    streams = [stream for account in answer["account_details"] for stream in account["stream_detail"]]
    return next(stream["state"]["messages"] for stream in streams if stream["name"] == "OBJ_files")


async def test_a_deleted_file_leaves_neither_its_bytes_nor_its_name(tmp_path: Path) -> None:
    with session_service(tmp_path) as edge:
        files = edge.client(max_retries=0).beta.files
        small = files.upload(file=(NAME, SMALL.encode()))
        large = files.upload(file=(f"2-{NAME}", LARGE.encode() + b"x" * (2 * CHUNK_BYTES) + LARGE.encode()))
        kept = files.upload(file=("kept", KEPT.encode()))
        await all_on_disk(tmp_path / "nats", [NAME, SMALL, LARGE, KEPT])
        for file in (small, large):
            files.delete(file.id)
        await nothing_on_disk(tmp_path / "nats", [NAME, SMALL, LARGE])
        assert found_on_disk(tmp_path / "nats", [KEPT])
        assert files.download(kept.id).read() == KEPT.encode()
        assert NAME not in edge.log.read_text()


async def test_bytes_that_two_files_share_are_stored_once_and_stay_for_the_second(tmp_path: Path) -> None:
    with session_service(tmp_path) as edge, replica(edge, tmp_path) as other:
        files, there = edge.client(max_retries=0).beta.files, other.client(max_retries=0).beta.files
        data = b"shared" * CHUNK_BYTES
        first, second = files.upload(file=("a", data)), there.upload(file=("b", data))

        async def stored_once() -> bool:
            return chunks_of(edge) == 6

        await eventually(stored_once, within=20, what="the second copy erased")
        files.delete(first.id)
        assert there.download(second.id).read() == data
        there.delete(second.id)

        async def gone() -> bool:
            return chunks_of(edge) == 0

        await eventually(gone, within=20, what="all erased")


async def sweep(bus: NatsBus, *, later_us: int) -> None:
    """A round of a service whose clock is later."""
    files, contents = FileStore(bus.kv), Contents(bus.kv, bus.file_chunks, lambda: clock.now() + later_us)
    sweeper = FileSweeper(files, contents)
    async with asyncio.TaskGroup() as tasks:
        follows = [tasks.create_task(one.follow()) for one in (files.objects, contents.objects)]
        await files.objects.ready()
        await contents.objects.ready()
        await sweeper.decide(contents.now())
        for tenant, content, for_good in sweeper.due(contents.now()):
            await contents.erase(tenant, content, for_good=for_good)
        for follow in follows:
            follow.cancel()


@pytest.mark.parametrize("moment", ["in the middle", "before the file"])
async def test_an_upload_whose_service_dies_leaves_nothing_for_good(tmp_path: Path, moment: str) -> None:
    fault = "session.file_content_stored:kill" if moment == "before the file" else ""
    with session_service(tmp_path, {"HOLDFAST_FAULT": fault}) as edge:
        half = threading.Event()

        def body() -> Iterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            yield LARGE.encode() + b"x" * (2 * CHUNK_BYTES)
            if moment == "in the middle":
                half.wait(20)
            yield b"\r\n--b--\r\n"

        def send() -> None:
            headers = {"content-type": "multipart/form-data; boundary=b"}
            with edge.http() as http, contextlib.suppress(httpx.TransportError):
                http.post("/v1/files", content=body(), headers=headers)

        sending = asyncio.create_task(asyncio.to_thread(send))
        await all_on_disk(tmp_path / "nats", [LARGE])
        if moment == "in the middle":
            edge.kill()
        else:
            await asyncio.to_thread(edge.wait)
        half.set()
        await sending
        edge.start_unarmed()
        assert edge.client().beta.files.list().data == []
        async with edge.bus() as bus:
            await sweep(bus, later_us=0)
            assert found_on_disk(tmp_path / "nats", [LARGE]), "it may be an upload that goes on elsewhere"
            await sweep(bus, later_us=max(SILENT_UPLOAD_US, MISSING_FILE_US) + 1_000_000)
        await nothing_on_disk(tmp_path / "nats", [LARGE])


async def test_an_upload_that_the_client_gives_up_is_erased_at_once(tmp_path: Path) -> None:
    with session_service(tmp_path) as edge:

        def body() -> Iterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            yield b"x" * (3 * CHUNK_BYTES)
            raise KeyError

        headers = {"content-type": "multipart/form-data; boundary=b"}
        with edge.http() as http, pytest.raises(KeyError):
            http.post("/v1/files", content=body(), headers=headers)

        async def gone() -> bool:
            return edge.last_sequences()["OBJ_files"] == 3 and chunks_of(edge) == 0

        await eventually(gone, within=20, what="stored, and erased")


async def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    with session_service(tmp_path) as edge:
        process = psutil.Process(edge.pid)
        with edge.client(max_retries=0) as client:
            client.beta.files.upload(file=("first", b"x" * 2 * MIB))
            before, most, done = process.memory_info().rss, 0, threading.Event()

            def watch() -> None:
                nonlocal most
                while not done.wait(0.01):
                    most = max(most, process.memory_info().rss)

            watching = threading.Thread(target=watch)
            watching.start()
            try:
                made = client.beta.files.upload(file=("large", b"0123456789abcdef" * (96 * MIB // 16)))
                with client.beta.files.with_streaming_response.download(made.id) as answer:
                    size = sum(len(part) for part in answer.iter_bytes(MIB))
            finally:
                done.set()
                watching.join()
        assert size == made.size_bytes == 96 * MIB
        assert most - before < 32 * MIB


def test_what_is_too_large_or_too_much_is_refused(tmp_path: Path) -> None:
    limits = {
        "HOLDFAST_FILE_LIMIT": str(2 * MIB),
        "HOLDFAST_TENANT_FILES_BYTES": str(3 * MIB),
        "HOLDFAST_TENANT_FILES": "3",
        "HOLDFAST_BODY_LIMIT": "1024",
    }
    with session_service(tmp_path, limits) as edge:
        files = edge.client(max_retries=0).beta.files
        with pytest.raises(anthropic.APIStatusError) as large:
            files.upload(file=("a", b"x" * (2 * MIB + 1)))
        assert large.value.status_code == 413
        with edge.http() as http:
            head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            headers = {"content-type": "multipart/form-data; boundary=b"}
            chunked = http.post("/v1/files", content=iter([head, b"x" * (2 * MIB), b"x"]), headers=headers)
            envelope(chunked, 413, "request_too_large")
        first = files.upload(file=("a", b"x" * 2 * MIB))
        with pytest.raises(anthropic.BadRequestError) as full:
            files.upload(file=("a", b"y" * 2 * MIB))
        assert full.value.body["error"]["details"] == {"error_code": "storage_quota_exceeded"}  # type: ignore[index]
        files.upload(file=("b", b""))
        files.upload(file=("c", b""))
        with pytest.raises(anthropic.BadRequestError, match="3 are allowed"):
            files.upload(file=("d", b""))
        files.delete(first.id)
        assert files.upload(file=("a", b"y" * 2 * MIB)).size_bytes == 2 * MIB


async def test_lost_bytes_are_an_error_and_never_a_short_file(tmp_path: Path) -> None:
    with session_service(tmp_path) as edge, edge.http() as http:
        files = edge.client(max_retries=0).beta.files
        lost, cut = files.upload(file=("a", b"lost")), files.upload(file=("b", b"x" * (2 * CHUNK_BYTES + 1)))
        async with edge.bus() as bus:
            for file, index in ((lost, 0), (cut, 1)):
                content = (await FileStore(bus.kv).get("default", file.id)).content
                await bus.file_chunks.erase("default", content)
                if index:
                    await bus.file_chunks.put("default", content, 0, b"x" * CHUNK_BYTES)
        envelope(http.get(f"/v1/files/{lost.id}/content"), 500, "api_error")
        with pytest.raises(httpx.RemoteProtocolError):
            http.get(f"/v1/files/{cut.id}/content")
        assert files.delete(cut.id).id == cut.id
