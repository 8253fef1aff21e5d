"""A container ends with its worker, its lease, or its engine, and what it leaves behind is removed by others."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import docker
import pytest

from holdfast.bus.ids import new_id
from holdfast.sandbox.drivers import SandboxLost, SandboxUnavailable
from holdfast.sandbox.drivers.docker.driver import Docker
from tests.integration.docker_driver.conftest import MakeSettings, spec
from tests.support.docker_engine import SOCKET, EngineProcess
from tests.support.eventually import eventually


def runs(pid: int) -> bool:
    """Whether the process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pid: int, *, within: float) -> None:
    async def is_gone() -> bool:
        return not runs(pid)

    await eventually(is_gone, within=within, what=f"the end of process {pid}")


@contextlib.contextmanager
def worker(data: Path, lease_s: float) -> Generator[tuple[subprocess.Popen[str], str, int]]:
    """A worker in a process of its own; its id, and the first process of its sandbox."""
    command = [sys.executable, "-m", "tests.support.docker_worker", str(data), SOCKET, str(lease_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            name, pid = process.stdout.readline().split()
            yield process, name, int(pid)
        finally:
            process.kill()


async def test_a_killed_worker_takes_its_containers_with_it_and_another_removes_them(
    settings: MakeSettings, tmp_path: Path, driver: Docker, engine: docker.APIClient
) -> None:
    with worker(tmp_path, 600) as (process, name, pid):
        alive = await driver.create(spec())
        assert await driver.collect() == [], "a worker that lives keeps what it has"
        assert runs(pid)
        process.kill()
        await gone(pid, within=5)
        process.wait()
        assert await driver.collect() == [name]
    assert not engine.containers(all=True, filters={"label": f"holdfast.worker={name}"})
    assert (await alive.run("a", "bash", {"command": "echo on"})).content[0]["text"] == "on\n"


async def test_a_worker_that_is_frozen_loses_its_containers_with_its_lease(driver: Docker, tmp_path: Path) -> None:
    with worker(tmp_path, 2) as (process, name, pid):
        assert runs(pid)
        process.send_signal(signal.SIGSTOP)
        await gone(pid, within=10)
        assert await driver.collect() == [], "it may go on, and find out by itself"
    process.wait()
    assert await driver.collect() == [name]


async def test_a_container_that_is_killed_fails_its_call_and_keeps_the_files(
    driver: Docker, engine: docker.APIClient
) -> None:
    wanted = spec()
    sandbox = await driver.create(wanted)
    call = asyncio.create_task(sandbox.run("a", "bash", {"command": "echo kept > file; sleep 99"}))
    (found,) = engine.containers(filters={"label": f"holdfast.generation={wanted.generation}"})
    file = driver._workspaces.folder(wanted.key) / "file"

    async def written() -> bool:
        return file.exists() and file.read_text() == "kept\n"

    await eventually(written, what="the command")
    began = time.monotonic()
    engine.kill(found["Id"])
    with pytest.raises(SandboxLost) as lost:
        await call
    assert time.monotonic() - began < 5
    assert lost.value.reason == "it was ended from inside"
    again = await driver.create(spec(wanted.key))
    assert (await again.run("a", "bash", {"command": "cat file"})).content[0]["text"].startswith("kept\n")

    async def removed() -> bool:
        return not engine.containers(all=True, filters={"label": f"holdfast.generation={wanted.generation}"})

    await eventually(removed, within=10, what="the dead container is removed")


async def test_nothing_is_left_of_a_worker_that_stops(settings: MakeSettings, engine: docker.APIClient) -> None:
    driver, worker_id = Docker(settings()), new_id("wrk")
    await driver.open(worker_id)
    begun = [asyncio.create_task(driver.create(spec())) for _ in range(3)]
    await begun[0]
    begun[1].cancel()  # at whatever step it is
    await asyncio.wait(begun)
    await driver.close()
    assert not engine.containers(all=True, filters={"label": f"holdfast.worker={worker_id}"})


@pytest.fixture
def own_engine(settings: MakeSettings) -> EngineProcess:
    """The engine that was started for these tests, which may be stopped."""
    engine = EngineProcess(Path(settings().docker_socket).parent)
    if not (engine.folder / "exec").is_dir():
        pytest.skip("the engine of this machine was not started by the tests")
    return engine


async def test_a_sandbox_ends_at_once_while_the_engine_hangs(
    own_engine: EngineProcess, driver: Docker, engine: docker.APIClient
) -> None:
    sandbox = await driver.create(spec())
    (container,) = driver._processes
    own_engine.process.suspend()
    try:
        began = time.monotonic()
        await sandbox.kill("the lease is over")
        assert time.monotonic() - began < 1
        assert not runs(container.pid)
        with pytest.raises(SandboxUnavailable) as unavailable:
            await driver.create(spec())
        assert time.monotonic() - began < 8
        assert "does not answer: it did not answer within 3 s" in str(unavailable.value)
        assert "sudo systemctl restart docker" in str(unavailable.value)
    finally:
        own_engine.process.resume()
    await driver.probe()
    alive = await driver.create(spec())
    label = f"holdfast.host={driver.host}"

    async def only_what_lives_is_left() -> bool:
        await driver.collect()
        return len(engine.containers(all=True, filters={"label": label})) == 1

    await eventually(only_what_lives_is_left, within=10, what="what could not be removed is removed later")
    assert (await alive.run("a", "bash", {"command": "echo on"})).content[0]["text"] == "on\n"


async def test_a_restart_of_the_engine_costs_the_running_calls_only(own_engine: EngineProcess, driver: Docker) -> None:
    wanted = spec()
    sandbox = await driver.create(wanted)
    (container,) = driver._processes
    await sandbox.run("a", "bash", {"command": "echo kept > file"})
    call = asyncio.create_task(sandbox.run("b", "bash", {"command": "sleep 99"}))
    await asyncio.to_thread(own_engine.stop)
    with pytest.raises(SandboxLost):
        await call
    assert not runs(container.pid)
    with pytest.raises(SandboxUnavailable) as unavailable:
        await driver.probe()
    assert "sudo systemctl start docker" in str(unavailable.value) or "does not exist" in str(unavailable.value)
    await asyncio.to_thread(own_engine.start)
    again = await driver.create(spec(wanted.key))
    assert (await again.run("a", "bash", {"command": "cat file"})).content[0]["text"].startswith("kept\n")
