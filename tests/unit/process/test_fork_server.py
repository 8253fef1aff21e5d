"""A fork server: forks that are children of the process that orders them, each with an environment of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil
import pytest

from holdfast.cli.embedded.child import Child
from holdfast.cli.embedded.fork_client import CannotFork, ForkServer
from holdfast.cli.embedded.program import Program, never_ready
from tests.support.eventually import eventually

SERVICE = """
import asyncio, gc, os, sys
import holdfast.process.lean_imports
from holdfast.bus.ids import new_id
from holdfast.process import faults, lifecycle, telemetry
from holdfast.process.settings import ProcessSettings

async def main(settings, stop):
    headers = {}
    telemetry.inject(headers)
    faults.point("here")
    print(os.getpid(), os.getcwd(), settings.cell, os.environ.get("EXTRA"), headers["traceparent"], new_id("x"),
          os.getsid(0), gc.isenabled(), gc.get_freeze_count() > 0, flush=True)
    await stop.wait()

def preload(settings):
    print("loaded", flush=True)

lifecycle.launch("test", ProcessSettings, main, preload=preload)
"""
"""A service that prints one line in each of its processes: pid, folder, cell, EXTRA, trace, id, group, gc."""


def program(folder: Path, name: str, **environ: str) -> Program:
    env = {"PATH": os.environ["PATH"], "HOLDFAST_LOG_LEVEL": "error", **environ}
    argv = [sys.executable, "-P", "-c", SERVICE]
    return Program(name=name, argv=argv, env=env, log=folder / f"{name}.log", probe=never_ready, fork_server="test")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[ForkServer]:
    made = ForkServer(program(tmp_path, "server"))
    yield made
    await made.stop()


def pid_of(server: ForkServer) -> int:
    return server._server.pid  # pyright: ignore[reportPrivateUsage]


async def line(program: Program, child: Child) -> list[str]:
    """What the process has printed, in words."""

    async def printed() -> list[str]:
        found = [text.split() for text in program.log.read_text().splitlines()]
        return next((words for words in found if words[0] == str(child.pid)), [])

    return await eventually(printed, what=f"the line of {program.name}")


async def end(*children: Child) -> None:
    for child in children:
        child.terminate()
        await child.ended.wait()


async def test_modules_are_loaded_once_and_each_fork_is_a_child_of_its_own(server: ForkServer, tmp_path: Path) -> None:
    one = program(tmp_path, "one", HOLDFAST_CELL="b1", EXTRA="1")
    two = program(tmp_path, "two", HOLDFAST_CELL="b2")
    children = [await server.fork(one, {}), await server.fork(two, {"EXTRA": "2"})]
    assert all(psutil.Process(child.pid).ppid() == os.getpid() for child in children)
    for child in children:
        child.go()
    words = [await line(one, children[0]), await line(two, children[1])]
    for child, (pid, folder, _, _, _, _, session, *collector) in zip(children, words, strict=True):
        assert collector == ["True", "True"], "on, and the modules are frozen"
        assert (pid, folder, session) == (str(child.pid), str(tmp_path), str(child.pid))
    assert [found[2:4] for found in words] == [["b1", "1"], ["b2", "2"]]
    assert (tmp_path / "server.log").read_text() == "loaded\n", "only the server has loaded them before a fork"
    await end(*children)
    assert [child.outcome for child in children] == ["exit code 0", "exit code 0"]


async def test_forks_share_no_random_numbers(server: ForkServer, tmp_path: Path) -> None:
    programs = [program(tmp_path, f"fork-{number}") for number in range(6)]
    children = [await server.fork(each, {}) for each in programs]
    for child in children:
        child.go()
    words = [await line(each, child) for each, child in zip(programs, children, strict=True)]
    assert len({found[4].split("-")[1] for found in words}) == 6, "trace ids"
    assert len({found[4].split("-")[2] for found in words}) == 6, "span ids"
    assert len({found[5] for found in words}) == 6, "ids"
    await end(*children)


async def test_a_fork_arms_the_fault_points_of_its_own_environment(server: ForkServer, tmp_path: Path) -> None:
    child = await server.fork(program(tmp_path, "one"), {"HOLDFAST_FAULT": "here:kill"})
    child.go()
    await child.ended.wait()
    assert child.outcome == "signal SIGKILL"
    assert child.was_killed


async def test_a_fork_that_refuses_its_settings_says_so(server: ForkServer, tmp_path: Path) -> None:
    bad = program(tmp_path, "bad", HOLDFAST_CELL="NOT A CELL")
    child = await server.fork(bad, {})
    child.go()
    await child.ended.wait()
    assert child.refused
    assert "HOLDFAST_CELL" in bad.log.read_text()


async def test_forks_outlive_the_server_and_the_next_order_starts_another(server: ForkServer, tmp_path: Path) -> None:
    one, two = program(tmp_path, "one"), program(tmp_path, "two")
    first = await server.fork(one, {})
    first.go()
    await line(one, first)
    dead = pid_of(server)
    os.kill(dead, signal.SIGKILL)
    await server._server.ended.wait()  # pyright: ignore[reportPrivateUsage]
    second = await server.fork(two, {})
    second.go()
    await line(two, second)
    assert pid_of(server) != dead
    assert not first.ended.is_set()
    await end(first, second)
    assert first.outcome == second.outcome == "exit code 0"


async def test_a_server_that_dies_with_an_order_says_that_it_cannot_fork(server: ForkServer, tmp_path: Path) -> None:
    os.kill(pid_of(server), signal.SIGSTOP)
    ordering = asyncio.create_task(server.fork(program(tmp_path, "one"), {}))
    await asyncio.sleep(0)
    os.kill(pid_of(server), signal.SIGKILL)
    with pytest.raises(CannotFork):
        await ordering


async def test_a_server_that_hangs_is_replaced(tmp_path: Path) -> None:
    one = program(tmp_path, "one")
    server = ForkServer(one, answer_timeout_s=20)
    first = await server.fork(one, {})  # its modules are loaded
    hanging = pid_of(server)
    os.kill(hanging, signal.SIGSTOP)
    server._answer_timeout_s = 0.2  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(CannotFork):
        await server.fork(one, {})
    assert not psutil.pid_exists(hanging)
    server._answer_timeout_s = 20  # pyright: ignore[reportPrivateUsage]
    second = await server.fork(one, {})
    second.go()
    await line(one, second)
    first.go()
    await line(one, first)
    await end(first, second)
    await server.stop()


async def test_a_server_whose_settings_are_refused_cannot_fork_and_says_nothing(tmp_path: Path) -> None:
    bad = program(tmp_path, "bad", HOLDFAST_CELL="NOT A CELL")
    server = ForkServer(bad)
    with pytest.raises(CannotFork):
        await server.fork(bad, {})
    assert bad.log.read_text() == ""
    await server.stop()


async def test_an_order_that_fits_into_no_message_is_no_fork(server: ForkServer, tmp_path: Path) -> None:
    with pytest.raises(CannotFork):
        await server.fork(program(tmp_path, "one"), {"LARGE": "x" * 200_000})


async def test_a_fork_that_is_never_told_to_go_ends_with_the_pipe(server: ForkServer, tmp_path: Path) -> None:
    child = await server.fork(program(tmp_path, "one"), {})
    child._close_go()  # pyright: ignore[reportPrivateUsage]  as when this process ends
    await child.ended.wait()
    assert child.is_done


async def test_a_fork_ends_with_the_process_that_ordered_it(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from holdfast.cli.embedded.fork_client import ForkServer
from tests.unit.process.test_fork_server import line, program

async def main():
    one = program(Path({str(tmp_path)!r}), "one")
    server = ForkServer(one)
    child = await server.fork(one, {{}})
    child.go()
    await line(one, child)
    print(child.pid, server._server.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    supervisor = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert supervisor.stdout
    pids = [int(word) for word in (await supervisor.stdout.readline()).split()]
    assert len(pids) == 2
    supervisor.kill()
    await supervisor.wait()

    async def gone() -> bool:
        return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)

    await eventually(gone, what="the fork and the server ended")
