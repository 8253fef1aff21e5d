"""The end of a worker at a bad moment: it comes soon, and nothing of a sandbox that is being made stays behind."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.eventually import eventually
from tests.support.isolation import Isolation
from tests.support.sandbox import WorkerProcess
from tests.support.servers import NatsServer


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    try:
        server.start_now()
        server.provision()
        yield server
    finally:
        server.kill()


def sandboxes(data: Path) -> list[psutil.Process]:
    """All processes of sandboxes of that data folder: those of bubblewrap, and what descends from them."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if str(data) in " ".join(process.cmdline()) and "bwrap" in " ".join(process.cmdline()):
                found += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.4, 0.8])
async def test_a_stop_during_the_first_probe_ends_the_worker(
    nats: NatsServer, tmp_path: Path, isolation: Isolation, seconds: float
) -> None:
    worker = WorkerProcess(nats.url, tmp_path, prefix=())
    worker.begin()
    try:
        await eventually(_folder(worker), what="the worker begins")
        await asyncio.sleep(seconds)  # what is tested are moments of its start
        assert await worker.stop() in (0, 143)  # stop waits for 20 s at most
        await eventually(_none_left(worker.data), what="the end of the sandboxes")
    finally:
        worker.kill()


@pytest.mark.parametrize("seconds", [0.3, 0.5, 0.7, 0.9])
async def test_a_kill_while_a_sandbox_is_made_leaves_no_process(
    nats: NatsServer, tmp_path: Path, isolation: Isolation, seconds: float
) -> None:
    worker = WorkerProcess(nats.url, tmp_path, prefix=())
    worker.begin()
    try:
        await eventually(_folder(worker), what="the worker begins")
        await asyncio.sleep(seconds)  # as above
    finally:
        worker.kill()
    await eventually(_none_left(worker.data), within=10, what="the end of the sandboxes")


def _folder(worker: WorkerProcess) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return (worker.data / "run").exists()

    return look


def _none_left(data: Path) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return not sandboxes(data)

    return look
