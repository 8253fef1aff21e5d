"""Operating a stack as a user does: up --detach, down, logs, status."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import psutil
import pytest

from holdfast.cli.embedded.procfs import started as began
from holdfast.cli.embedded.runfile import RunFile, read, write
from holdfast.cli.embedded.stack_status import inspect
from tests.support.command import ENVIRON, HOLDFAST, Done, holdfast, started
from tests.support.eventually import eventually
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(300)  # many programs one after the other


@contextlib.asynccontextmanager
async def detached(folder: Path, *more: str) -> AsyncIterator[tuple[Done, RunFile]]:
    """What `up --detach` said, and the stack, which is stopped at the end of the block."""
    done = await holdfast("up", "--detach", "--data", str(folder), "--port", "0", "--harnesses", "1", *more)
    run = read(folder / "run.json")
    assert run, done
    try:
        yield done, run
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisor = psutil.Process(run.supervisor)
            supervisor.terminate()
            await asyncio.to_thread(psutil.wait_procs, [supervisor], 30)


async def test_a_stack_in_the_background_from_start_to_stop(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    data = ("--data", str(folder))
    async with detached(folder) as (up, run):
        assert up.code == 0, up
        assert run.base_url in up.out
        assert run.api_key not in up.out, "the key is for terminals only"
        assert "ready after" in up.out
        assert "holdfast down" in up.out
        assert os.getsid(run.supervisor) == run.supervisor, "it must not be tied to the terminal"
        assert _output(run.supervisor) == [folder / "logs" / "up.log"] * 2
        assert run.api_key not in (folder / "logs" / "up.log").read_text()

        again = await holdfast("up", "-d", *data)
        assert again.code == 0, again
        assert "already running" in again.out
        assert run.base_url in again.out
        assert str(run.supervisor) in again.out

        async with started("logs", "up", "--follow", "-n", "1", *data) as following:
            assert following.stdout
            assert b"ready after" in await asyncio.wait_for(following.stdout.readline(), 20)
            os.kill(run.processes["vault"], signal.SIGKILL)
            line = await asyncio.wait_for(following.stdout.readline(), 20)
            assert b"vault died (signal SIGKILL)" in line, line
            following.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(following.wait(), 10) == 130

        down = await holdfast("down", *data)
        assert down.code == 0, down
        assert str(run.supervisor) in down.out
        assert down.out.endswith("stopped\n")
        assert not began(run.supervisor), "a zombie has ended: the init of a container may not reap it"
        assert not [pid for pid in run.processes.values() if began(pid)]

    nothing = await holdfast("down", *data)
    assert nothing.code == 2, nothing
    assert "holdfast up" in nothing.err
    assert (await holdfast("status", *data)).code == 2

    logs = await holdfast("logs", *data)
    assert logs.code == 0
    lines = logs.out.splitlines()
    for name in ("up", "session", "harness-1", "sandbox", "vault", "nats", "bao"):
        assert [line for line in lines if line[20:].split()[:1] == [name]], f"nothing of {name}"
    times = [datetime.strptime(line[:18], "%m-%d %H:%M:%S.%f") for line in lines if line[:1].isdigit()]  # noqa: DTZ007
    # A process may take the time of a line and write it after the next one; its own order is kept.
    assert all(later - earlier > timedelta(milliseconds=-20) for earlier, later in itertools.pairwise(times))
    last = await holdfast("logs", "up", "-n", "1", *data)
    assert last.out.endswith("up  info   stopped\n"), last
    raw = await holdfast("logs", "session", "--json", *data)
    assert {json.loads(line)["service"] for line in raw.out.splitlines()} == {"session"}
    unknown = await holdfast("logs", "edge", *data)
    assert unknown.code == 2, unknown
    assert "bao, harness-1, nats, sandbox, session, up, vault" in unknown.err


async def test_a_start_in_the_background_that_fails_says_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = await holdfast("up", "--detach", "--data", str(tmp_path), "--port", port)
    assert done.code == 1, done
    assert f"port {port}" in done.err
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]


async def test_down_ends_a_start_that_is_not_ready_yet(tmp_path: Path) -> None:
    async with started("up", "--data", str(tmp_path), "--port", "0", "--harnesses", "1") as up:

        async def begun() -> bool:
            return (tmp_path / "logs" / "nats.log").exists()

        await eventually(begun, what="a start", within=30)
        done = await holdfast("down", "--data", str(tmp_path))
        assert done.code == 0, done
        assert str(up.pid) in done.out
        assert await asyncio.wait_for(up.wait(), 10) == 0


def test_down_leaves_a_foreign_process_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as other:
        try:
            write(tmp_path / "run.json", _run_file(tmp_path, supervisor=other.pid, supervisor_started=1))
            (tmp_path / "lock").write_text(str(other.pid))
            argv = [HOLDFAST, "down", "--data", str(tmp_path)]
            done = subprocess.run(argv, env=ENVIRON, capture_output=True, text=True, check=False)
            assert done.returncode == 2, done
            assert other.poll() is None
        finally:
            other.kill()


# --- logs -----------------------------------------------------------------------------------------------------------


async def test_logs_never_speak_to_the_terminal_and_are_sentences(tmp_path: Path) -> None:
    entry = {
        "event": "no \x1b[31msandbox\x07 can be had",
        "cause": "no control group\ncan be written \u2026 here",
        "worker": "\x1b]0;title\x07w1",
        "service": "sandbox",
        "level": "warning",
        "timestamp": "2026-11-27T03:00:00.5Z",
    }
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "sandbox.log").write_text(json.dumps(entry) + "\nTraceback: \x1b[2J\n")
    done = await holdfast("logs", "--data", str(tmp_path), TZ="UTC")
    first, second = done.out.splitlines()
    assert first == (
        "11-27 03:00:00.500  sandbox  warn   no sandbox␇ can be had: no control group can be written … here  worker=w1"
    )
    assert second == "    Traceback: "
    assert (await holdfast("logs", "--since", "1h", "--data", str(tmp_path))).out == ""
    assert (await holdfast("logs", "--since", "2026-11-27T02:59:00Z", "--data", str(tmp_path))).out
    bad = await holdfast("logs", "--since", "yesterday", "--data", str(tmp_path))
    assert bad.code == 1
    assert "10m" in bad.err


# --- status ---------------------------------------------------------------------------------------------------------


async def test_status_of_an_address_is_about_that_stack_only(shared: Stack) -> None:
    run = shared.run
    seen = await holdfast("status", HOLDFAST_BASE_URL=run.base_url, HOLDFAST_API_KEY=run.api_key)
    assert seen.code == 0, seen
    assert run.base_url in seen.out
    assert str(run.supervisor) not in seen.out
    assert "its own machine" in seen.out
    refused = await holdfast("status", HOLDFAST_BASE_URL=run.base_url, HOLDFAST_API_KEY="wrong")
    assert refused.code == 1
    assert "refuses HOLDFAST_API_KEY" in refused.out
    # A local stack, named by HOLDFAST_DATA, is another one than the address.
    address = "http://127.0.0.1:9"
    data = str(shared.data)
    gone = await holdfast("status", HOLDFAST_BASE_URL=address, HOLDFAST_API_KEY="x", HOLDFAST_DATA=data)
    assert gone.code == 1
    assert address in gone.out
    assert "does not answer: " in gone.out
    assert str(run.supervisor) not in gone.out
    for command in ("logs", "down"):
        other = await holdfast(command, HOLDFAST_BASE_URL=address, HOLDFAST_API_KEY="x")
        assert other.code == 2, other
        assert address in other.err


async def test_status_as_json_and_on_a_narrow_terminal(shared: Stack) -> None:
    done = await holdfast("status", "--json", "--data", str(shared.data))
    assert done.code == 0, done
    seen = json.loads(done.out)
    assert seen["is_well"] is True
    assert {p["name"]: p["pid"] for p in seen["processes"]} == shared.run.processes
    assert seen["disk"]["free"] > 0
    assert isinstance(seen["sessions"], int)
    narrow = await holdfast("status", "--data", str(shared.data), COLUMNS="40")
    assert f"data        {shared.data}\n" in narrow.out
    assert f"logs        {shared.data}/logs\n" in narrow.out


def test_a_dead_or_a_reused_process_does_not_run(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    try:
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.Process(dead.pid).status() == psutil.STATUS_ZOMBIE
        assert began(dead.pid) == 0
        processes = {"nats": dead.pid, "session": os.getpid()}
        seen = asyncio.run(inspect(_run_file(tmp_path, supervisor=os.getpid(), processes=processes)))
    finally:
        dead.wait()
    assert {p.name: p.state for p in seen.processes}["nats"] == "is not running"
    assert {p.name: p.state for p in seen.processes}["session"] == "is not running", "no child of that supervisor"
    assert not seen.is_well
    assert seen.problem


async def test_all_is_well_with_a_scripted_model(tmp_path: Path) -> None:
    async with detached(tmp_path, "--scripted"):
        done = await holdfast("status", "--data", str(tmp_path))
    assert done.code == 0, done
    models = [line.split()[1:] for line in done.out.splitlines() if line.startswith("model ")]
    assert models[0] == ["scripted:", "no", "key,", "no", "cost"]
    assert models[1][1] == "runs"


async def test_status_says_which_server_does_not_answer(tmp_path: Path) -> None:
    async with detached(tmp_path) as (_, run):
        os.kill(run.processes["nats"], signal.SIGSTOP)
        try:
            done = await holdfast("status", "--data", str(tmp_path))
        finally:
            os.kill(run.processes["nats"], signal.SIGCONT)
        assert done.code == 1, done
        nats = next(line for line in done.out.splitlines() if line.startswith("nats "))
        assert "does not answer" in nats
        assert "NATS does not answer: no answer on nats://127.0.0.1:" in done.out


def _output(pid: int) -> list[Path]:
    """Where a process writes what it prints."""
    return [Path(f"/proc/{pid}/fd/{number}").readlink() for number in (1, 2)]


def _run_file(folder: Path, **changes: object) -> RunFile:
    secret = folder / "nats-admin.json"
    secret.write_text('{"user": "admin", "password": "x"}')
    base = RunFile(
        base_url="http://127.0.0.1:9",
        api_key="x",
        data=str(folder),
        logs=str(folder / "logs"),
        nats_url="nats://127.0.0.1:9",
        bao_url="https://127.0.0.1:9",
        credentials={"admin": str(secret)},
        supervisor=0,
        processes={},
        health={},
    )
    return msgspec.structs.replace(base, **changes)


@pytest.mark.parametrize("command", ["up", "down", "logs", "status"])
def test_help_teaches(command: str) -> None:
    done = subprocess.run([HOLDFAST, command, "--help"], env=ENVIRON, capture_output=True, text=True, check=True)
    assert "For example" in done.stdout
    assert "Exit codes" in done.stdout
