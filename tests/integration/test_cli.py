"""The `holdfast` program as a user runs it, against real stacks."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil

from holdfast.cli.embedded.runfile import read
from holdfast.cli.embedded.stack_status import inspect
from tests.support.command import ENVIRON, HOLDFAST, holdfast, started
from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.model import say
from tests.support.stack import Stack, stack

# --- with a running stack -------------------------------------------------------------------------------------------


async def test_a_session_goes_on_is_listed_and_can_be_read_again(shared: Stack) -> None:
    name = await shared.model.play(say("First answer."), say("Second answer."))
    data = ("--data", str(shared.data))
    first = await holdfast("run", f"[play:{name}] hello", *data)
    session = first.session
    second = await holdfast("run", "and now?", "--session", session, *data)
    assert second.code == 0, second
    assert "Second answer." in second.out
    assert "First answer." not in second.out

    listed = await holdfast("sessions", *data)
    assert listed.code == 0
    assert session in listed.out

    whole = await holdfast("tail", session, "--no-follow", *data)
    numbers = [int(line.split()[0]) for line in whole.out.splitlines() if line[:5].strip().isdigit()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert "Second answer." in whole.out
    late = await holdfast("tail", session, "--from", str(len(numbers) - 1), "--no-follow", *data)
    assert len([line for line in late.out.splitlines() if line[:5].strip().isdigit()]) == 2

    async with started("tail", session, "--from", "2", *data) as process:
        assert process.stdout
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        assert line.split()[0] == b"2"
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 10) == 130


async def test_status_says_that_all_is_well(shared: Stack) -> None:
    done = await holdfast("status", "--data", str(shared.data))
    assert done.code == 0, done
    for name in (*shared.run.processes, "LOG_a0", "INBOX_a0", "OpenBao 2."):
        assert name in done.out


async def test_status_has_the_figures_to_scale_by(shared: Stack) -> None:
    """A turn that waits for its model counts until it has ended, and its input is the oldest one until then."""
    async with shared.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(await shared.model.play({"text": "Slowly, " * 40, "delay": 0.1}))

        async def runs() -> bool:
            seen = await inspect(shared.run)
            return seen.running_turns >= 1 and (seen.oldest_input_s or 0) > 0.5

        await eventually(runs, what="a turn that runs", within=20)
        seen = await inspect(shared.run)
        assert seen.undelivered_inputs == 0, "there is a free place for every input"
        assert seen.waiting_inputs
        by_name = {process.name: process.gauges for process in seen.processes}
        assert by_name["harness-1"]["places"] == 1000
        await client.beta.sessions.events.send(conversation.id, events=[{"type": "user.interrupt"}])
        await conversation.until_idle()

        async def rests() -> bool:
            seen = await inspect(shared.run)
            return (seen.running_turns, seen.oldest_input_s, seen.waiting_inputs) == (0, None, 0)

        await eventually(rests, what="nothing runs", within=30)


async def test_what_is_wrong_is_said_with_the_way_out(shared: Stack, tmp_path: Path) -> None:
    nothing = await holdfast("run", "x", "--data", str(tmp_path / "none"))
    assert nothing.code == 2
    assert "holdfast up --data" in nothing.err
    unknown = await holdfast("tail", "sesn_a0_nothing", "--data", str(shared.data))
    assert unknown.code == 1
    assert "no session 'sesn_a0_nothing'" in unknown.err
    assert "holdfast sessions --all" in unknown.err
    file = await holdfast("run", "x", "--agent", "/nowhere.yaml", "--data", str(shared.data))
    assert file.code == 1
    assert "/nowhere.yaml" in file.err
    (tmp_path / "bad.yaml").write_text("name: x\ntools: [{type: nonsense}]\n")
    bad = await holdfast("run", "x", "--agent", str(tmp_path / "bad.yaml"), "--data", str(shared.data))
    assert bad.code == 1
    assert "bad.yaml: tools[0].type: there is no 'nonsense'" in bad.err
    (tmp_path / "refused.yaml").write_text("name: x\nmcp_servers: [{type: url, name: x, url: 'https://x.example'}]\n")
    refused = await holdfast("run", "x", "--agent", str(tmp_path / "refused.yaml"), "--data", str(shared.data))
    assert refused.code == 1
    assert "the agent is refused: mcp_servers" in refused.err
    key = await holdfast("sessions", HOLDFAST_BASE_URL=shared.run.base_url, HOLDFAST_API_KEY="wrong")
    assert key.code == 1
    assert "401" in key.err
    dead = await holdfast("up", "--data", str(shared.data))
    assert dead.code == 1
    assert f"process id {shared.run.supervisor}" in dead.err


def test_no_secret_is_in_any_environment_or_command_line(shared: Stack) -> None:
    run = shared.run
    secrets = [shared.model_key, run.api_key]
    secrets += [json.loads(Path(path).read_text())["password"] for path in run.credentials.values()]
    for name, pid in {"supervisor": run.supervisor, **run.processes}.items():
        process = psutil.Process(pid)
        told = " ".join(process.cmdline())
        try:
            if name != "supervisor":  # the user gave it the key of the model in its environment
                told += " ".join(process.environ().values())
        except psutil.AccessDenied:
            # The services let no process of an ordinary user look.
            assert name not in ("supervisor", "nats", "openbao", "model"), name
        assert not [secret for secret in secrets if secret in told], process
    for file in Path(run.logs).iterdir():
        text = file.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], file
    assert (shared.data / "run.json").stat().st_mode & 0o777 == 0o600


# --- stacks of their own --------------------------------------------------------------------------------------------


async def test_the_stack_stops_whole_and_goes_on_with_the_same_data(tmp_path: Path) -> None:
    with stack(tmp_path, harnesses=1) as own:
        name = await own.model.play(say("Before."), say("After."))
        data = ("--data", str(own.data))
        first = await holdfast("run", f"[play:{name}] hello", *data)
        session = first.session
        before = own.run
        vault = await _make_vault(own)

        old = own.kill("vault")
        await own.replaced("vault", old)
        assert "vault died (signal SIGKILL), restarting in 0.1 s" in own.log.read_text()

        own.stop()
        assert read(own.data / "run.json") is None
        for pid in before.processes.values():
            assert not psutil.pid_exists(pid)
        assert (await holdfast("status", *data)).code == 2

        own.start()
        after = own.run
        assert (after.base_url, after.api_key) == (before.base_url, before.api_key)
        second = await holdfast("run", "and now?", "--session", session, *data)
        assert "After." in second.out, second
        async with own.client() as client:
            assert (await client.beta.vaults.retrieve(vault)).display_name == "kept"

        # Everything at once, the supervisor too: nothing is left over, and it starts again.
        pids = list(own.run.processes.values())
        os.kill(own.run.supervisor, signal.SIGKILL)

        async def gone() -> bool:
            return not any(psutil.pid_exists(pid) and not _is_zombie(pid) for pid in pids)

        await eventually(gone, what="all children gone", within=10)


async def _make_vault(own: Stack) -> str:
    async with own.client() as client:
        return (await client.beta.vaults.create(display_name="kept")).id


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


async def test_a_start_that_was_killed_in_the_middle_is_made_good(tmp_path: Path) -> None:
    """OpenBao initialises itself once, in several steps: being killed in between must not lock the folder for ever."""
    raft = tmp_path / "data" / "bao" / "raft"
    arguments = ("up", "--data", str(tmp_path / "data"), "--port", "0", "--harnesses", "1")
    async with started(*arguments) as process:

        async def begun() -> bool:
            return (raft / "vault.db").exists()

        await eventually(begun, what="OpenBao at work", within=20)
        process.kill()
        await process.wait()
    async with started(*arguments) as process:

        async def ready() -> bool:
            return read(tmp_path / "data" / "run.json") is not None

        await eventually(ready, what="run.json", within=40)
        process.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, (out, err)
    assert b"ready after" in out


async def test_bad_settings_end_the_start_with_their_cause(tmp_path: Path) -> None:
    began = time.monotonic()
    done = await holdfast("up", "--data", str(tmp_path), "--port", "0", HOLDFAST_MAX_TOKENS="many")
    assert done.code == 1
    assert "HOLDFAST_MAX_TOKENS" in done.err
    assert "many" not in done.err
    assert time.monotonic() - began < 30
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]

    sync = await holdfast("up", "--data", str(tmp_path), "--port", "0", "--sync", "sometimes")
    assert sync.code == 1
    assert "--sync" in sync.err


async def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = await holdfast("up", "--data", str(tmp_path), "--port", port)
    assert done.code == 1
    assert f"port {port}" in done.err
    assert "--port 0" in done.err


async def test_a_data_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    for folder, why in (
        (tmp_path / ("x" * 300), "the path is too long"),
        (tmp_path / "file" / "x", "part of the path"),
    ):
        (tmp_path / "file").touch()
        done = await holdfast("up", "--data", str(folder), "--port", "0")
        assert done.code == 1
        assert why in done.err


def test_help_teaches() -> None:
    for command in ("up", "run", "sessions", "tail", "status"):
        done = subprocess.run([HOLDFAST, command, "--help"], env=ENVIRON, capture_output=True, text=True, check=True)
        assert f"holdfast {command}" in done.stdout
        assert "For example" in done.stdout
        assert "Exit codes" in done.stdout
