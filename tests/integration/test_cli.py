"""The `holdfast` program as a user runs it, against real stacks."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil

from holdfast.cli.embedded.runfile import read
from tests.support.eventually import eventually
from tests.support.model import bash, call, say
from tests.support.stack import Stack, stack

HOLDFAST = str(Path(sys.executable).parent / "holdfast")
ENVIRON = {"PATH": os.environ["PATH"], "COLUMNS": "200"}

ASKING = """
name: asker
tools:
  - type: agent_toolset_20260401
    default_config: {permission_policy: {type: always_ask}}
  - type: custom
    name: weather
    description: The weather of a city.
    input_schema: {type: object, properties: {city: {type: string}}}
"""


class Done:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


@contextlib.asynccontextmanager
async def started(*arguments: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program while it runs; killed at the end of the block if it has not ended."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        HOLDFAST, *arguments, env={**ENVIRON, **environ}, stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def holdfast(*arguments: str, answers: str = "", **environ: str) -> Done:
    async with started(*arguments, **environ) as process:
        out, err = await asyncio.wait_for(process.communicate(answers.encode()), 60)
    assert process.returncode is not None
    done = Done(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in done.out + done.err, done
    return done


# --- with a running stack -------------------------------------------------------------------------------------------


async def test_a_task_is_shown_from_the_first_word_to_the_usage(shared: Stack, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    name = await shared.model.play(
        bash("cat a.txt; echo two >> a.txt; echo x > b.txt", text="I look at the file."), say("It is done now.")
    )
    done = await holdfast("run", f"[play:{name}] go on", "--dir", str(tmp_path), "--data", str(shared.data))
    assert done.code == 0, done
    lines = done.out.splitlines()
    order = ["I look at the file.", '→ bash {"command"', "← one", "It is done now.", "tokens: ", "  changed  a.txt"]
    places = [next(i for i, line in enumerate(lines) if line.startswith(text)) for text in order]
    assert places == sorted(places), done
    assert done.out.count("It is done now.") == 1
    assert "  new      b.txt" in lines
    assert (tmp_path / "a.txt").read_text() == "one\n"


async def test_confirmations_and_results_are_asked_for_at_the_prompt(shared: Stack, tmp_path: Path) -> None:
    agent = tmp_path / "agent.yaml"
    agent.write_text(ASKING)
    name = await shared.model.play(
        bash("echo first"), bash("echo second"), call("weather", city="Rome"), say("Thank you for everything.")
    )
    data = ("--agent", str(agent), "--data", str(shared.data))
    done = await holdfast("run", f"[play:{name}] go", *data, answers="y\nnot on a Saturday\nsunny\n")
    assert done.code == 0, done
    assert "← first" in done.out
    assert "← second" not in done.out
    assert "deny: not on a Saturday" in done.out
    assert "result of weather" in done.out
    asked = await shared.model.requests(name, count=4)
    assert "not on a Saturday" in json.dumps(asked[2].body)
    assert "sunny" in json.dumps(asked[3].body)

    again = await shared.model.play(bash("echo never"), say("unreached"))
    waits = await holdfast("run", f"[play:{again}] go", *data)  # nobody there
    assert waits.code == 3, waits
    assert "nobody to give it" in waits.out


async def test_a_failed_run_has_an_exit_code(shared: Stack) -> None:
    name = await shared.model.play(say("x", faults=[{"kind": "status", "status": 400, "times": 0}]))
    done = await holdfast("run", f"[play:{name}] go", "--data", str(shared.data))
    assert done.code == 1, done
    assert "error: " in done.out


async def test_ctrl_c_interrupts_the_agent(shared: Stack) -> None:
    name = await shared.model.play(bash("sleep 100"), say("unreached"))
    async with started("run", f"[play:{name}] go", "--data", str(shared.data)) as process:
        assert process.stdout
        while b"sleep 100" not in await asyncio.wait_for(process.stdout.readline(), 30):
            pass
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130, (out, err)
    assert b"interrupting" in out
    assert b"unreached" not in out


async def test_a_session_goes_on_is_listed_and_can_be_read_again(shared: Stack) -> None:
    name = await shared.model.play(say("First answer."), say("Second answer."))
    data = ("--data", str(shared.data))
    first = await holdfast("run", f"[play:{name}] hello", *data)
    session = next(line.split()[1] for line in first.out.splitlines() if line.startswith("session "))
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
    for pid in [run.supervisor, *run.processes.values()]:
        process = psutil.Process(pid)
        told = " ".join(process.cmdline())
        if pid != run.supervisor:  # the user gave it the key of the model in its environment
            told += " ".join(process.environ().values())
        assert not [secret for secret in secrets if secret in told], process
    for file in Path(run.logs).iterdir():
        text = file.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], file
    assert (shared.data / "run.json").stat().st_mode & 0o777 == 0o600


# --- stacks of their own --------------------------------------------------------------------------------------------


async def test_a_run_goes_on_when_the_api_is_killed(tmp_path: Path) -> None:
    with stack(tmp_path, harnesses=1) as own:
        name = await own.model.play(bash("sleep 2; echo awake"), say("All is well."))
        async with started("run", f"[play:{name}] go", "--data", str(own.data)) as process:
            assert process.stdout
            while b"sleep 2" not in await asyncio.wait_for(process.stdout.readline(), 30):
                pass
            own.kill("session")
            out, err = await asyncio.wait_for(process.communicate(), 40)
        assert process.returncode == 0, (out, err)
        assert b"connecting again" in out
        assert out.count("← awake".encode()) == 1
        assert out.count(b"All is well.") == 1


async def test_the_stack_stops_whole_and_goes_on_with_the_same_data(tmp_path: Path) -> None:
    with stack(tmp_path, harnesses=1) as own:
        name = await own.model.play(say("Before."), say("After."))
        data = ("--data", str(own.data))
        first = await holdfast("run", f"[play:{name}] hello", *data)
        session = next(line.split()[1] for line in first.out.splitlines() if line.startswith("session "))
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
    done = await holdfast("up", "--data", str(tmp_path), "--port", "0", HOLDFAST_CONTEXT_TOKENS="many")
    assert done.code == 1
    assert "HOLDFAST_CONTEXT_TOKENS" in done.err
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


def test_help_teaches() -> None:
    for command in ("up", "run", "sessions", "tail", "status"):
        done = subprocess.run([HOLDFAST, command, "--help"], env=ENVIRON, capture_output=True, text=True, check=True)
        assert f"holdfast {command}" in done.stdout
        assert "For example" in done.stdout
        assert "Exit codes" in done.stdout
