"""The supervisor with small programs in place of services."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from holdfast.cli.embedded.program import NotReady, Program, Readiness
from holdfast.cli.embedded.supervisor import Supervisor
from tests.support.eventually import eventually

SLEEP = "import time; time.sleep(600)"


def program(folder: Path, name: str, code: str, *arguments: str, **more: Any) -> Program:
    """A Python program that is ready as soon as it has made the file `<name>.ready`, or at once."""
    ready = folder / f"{name}.ready"

    async def probe() -> Readiness:
        return Readiness("ready" not in code or ready.exists())

    body = f"import os, signal, sys, time\n{code}"
    argv = [sys.executable, "-c", body, *(arguments or (str(ready),))]
    return Program(name=name, argv=argv, env={}, log=folder / f"{name}.log", probe=probe, **more)


class Heard:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.changes = 0

    def say(self, line: str) -> None:
        self.lines.append(line)

    def changed(self) -> None:
        self.changes += 1


def supervise(*programs: Program) -> tuple[Supervisor, Heard]:
    heard = Heard()
    return Supervisor(programs, say=heard.say, changed=heard.changed), heard


WAITING = (
    "from holdfast.process.go import wait_for_go\nwait_for_go()\nopen(sys.argv[1], 'a').write('x')  # ready\n" + SLEEP
)


async def test_a_program_is_started_at_once_and_goes_on_when_what_it_needs_is_ready(tmp_path: Path) -> None:
    first = program(tmp_path, "first", "time.sleep(0.2); open(sys.argv[1], 'w')  # ready\ntime.sleep(600)")
    second = program(tmp_path, "second", "print('loaded', flush=True)\n" + WAITING, needs=("first", "milestone"))
    supervisor, _ = supervise(second, first)
    starting = asyncio.create_task(supervisor.start(20))
    await supervisor.wait_for("first")

    async def loaded() -> bool:
        return (tmp_path / "second.log").read_text() == "loaded\n"

    await eventually(loaded, what="the second program started")
    assert list(supervisor.pids) == ["first"]
    assert not (tmp_path / "second.ready").exists()
    supervisor.reached("milestone")
    await starting
    assert set(supervisor.pids) == {"first", "second"}

    # Once all is ready, a new process of it does not wait.
    os.kill(supervisor.pids["second"], signal.SIGKILL)

    async def again() -> bool:
        return (tmp_path / "second.ready").read_text() == "xx"

    await eventually(again, what="the second program started again")
    await supervisor.stop([["second"], ["first"]])
    assert supervisor.pids == {}


async def test_a_program_that_waits_and_dies_is_started_again_and_still_waits(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    code = "open(sys.argv[2], 'a').write(f'{os.getpid()}\\n')\n" + WAITING
    ready = str(tmp_path / "one.ready")
    supervisor, heard = supervise(program(tmp_path, "one", code, ready, str(seen), needs=("milestone",)))
    starting = asyncio.create_task(supervisor.start(20))

    async def started(count: int) -> list[int]:
        pids = [int(line) for line in seen.read_text().splitlines()] if seen.exists() else []
        return pids if len(pids) == count else []

    (pid,) = await eventually(lambda: started(1), what="the first process")
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: started(2), what="the second process")
    assert supervisor.pids == {}
    supervisor.reached("milestone")
    await starting
    assert list(supervisor.pids) == ["one"]
    assert heard.lines == []
    await supervisor.stop([])


FORKING = (
    "open(sys.argv[2], 'a').write('loaded ')\nfrom holdfast.process import fork_server\n"
    "if fork_server.is_wanted(): fork_server.serve()\n" + WAITING
)


async def test_a_program_of_a_fork_server_is_started_again_without_loading_its_modules(tmp_path: Path) -> None:
    loaded, ready = tmp_path / "loaded", tmp_path / "one.ready"
    one = program(tmp_path, "one", FORKING, str(ready), str(loaded), fork_server="shared")
    supervisor, _ = supervise(one)
    await supervisor.start(20)
    os.kill(supervisor.pids["one"], signal.SIGKILL)

    async def again() -> bool:
        return ready.read_text() == "xx" and "one" in supervisor.pids

    await eventually(again, what="the program started again")
    assert loaded.read_text() == "loaded "
    await supervisor.stop([])
    assert psutil.Process().children() == []


async def test_a_program_whose_fork_server_ends_is_started_by_itself(tmp_path: Path) -> None:
    code = "if 'HOLDFAST_FORK_FD' in os.environ: sys.exit(1)\n" + WAITING
    supervisor, heard = supervise(program(tmp_path, "one", code, fork_server="shared"))
    await supervisor.start(20)
    assert (tmp_path / "one.ready").read_text() == "x"
    assert heard.lines == []
    await supervisor.stop([])


async def test_a_program_that_dies_is_started_again_and_reported(tmp_path: Path) -> None:
    supervisor, heard = supervise(
        program(tmp_path, "one", "print('a last word', flush=True)\nopen(sys.argv[1], 'w')  # ready\n" + SLEEP)
    )
    await supervisor.start(10)
    pids = {supervisor.pids["one"]}
    for deaths in range(1, 4):
        os.kill(supervisor.pids["one"], signal.SIGKILL)

        async def another() -> bool:
            return supervisor.pids.get("one", 0) not in {0, *pids}

        await eventually(another, what="another process")
        pids.add(supervisor.pids["one"])
        assert heard.lines[min(deaths, 3) - 1].startswith("one died (signal SIGKILL), restarting in")
    assert "a last word" in heard.lines[3]
    assert heard.changes >= 7
    await supervisor.stop([])


async def test_environment_of_the_first_start_only(tmp_path: Path) -> None:
    code = "open(sys.argv[1], 'a').write(os.environ.get('ONCE', 'without') + '\\n')\n" + SLEEP
    seen = tmp_path / "seen"
    supervisor, _ = supervise(program(tmp_path, "one", code, str(seen), first_env={"ONCE": "with"}))

    async def lines(count: int) -> bool:
        return seen.exists() and len(seen.read_text().splitlines()) == count

    await supervisor.start(10)
    await eventually(lambda: lines(1))
    os.kill(supervisor.pids["one"], signal.SIGKILL)
    await eventually(lambda: lines(2))
    assert seen.read_text().splitlines() == ["with", "without"]
    await supervisor.stop([])


async def test_a_program_that_refuses_its_settings_is_not_started_again(tmp_path: Path) -> None:
    code = "print('HOLDFAST_X: out of range', file=sys.stderr); sys.exit(2)  # ready"
    supervisor, heard = supervise(program(tmp_path, "one", code))
    with pytest.raises(NotReady, match="out of range"):
        await supervisor.start(10)
    assert heard.lines == []
    await supervisor.stop([])


async def test_the_error_names_the_program_that_does_not_become_ready_and_its_log(tmp_path: Path) -> None:
    slow = program(tmp_path, "slow", "print('still thinking', flush=True)  # ready\n" + SLEEP)
    supervisor, _ = supervise(slow, program(tmp_path, "fast", SLEEP))
    with pytest.raises(NotReady, match=r"slow: not ready after 1 s: still thinking") as caught:
        await supervisor.start(1)
    assert caught.value.log == tmp_path / "slow.log"
    await supervisor.stop([])
    assert supervisor.pids == {}


async def test_a_program_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    ready = tmp_path / "deaf.ready"
    code = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "if child: open(sys.argv[1], 'w').write(str(child))  # ready\n"
        "time.sleep(600)"
    )
    supervisor, _ = supervise(program(tmp_path, "deaf", code, stop_timeout=0.3))
    await supervisor.start(10)

    async def written() -> str:
        return ready.read_text()

    child = int(await eventually(written))
    began = time.monotonic()
    await supervisor.stop([["deaf"]])
    assert time.monotonic() - began < 5

    async def gone() -> bool:
        return not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE

    await eventually(gone, what="the child gone")


async def test_a_frozen_program_can_be_stopped(tmp_path: Path) -> None:
    supervisor, _ = supervise(program(tmp_path, "one", SLEEP))
    await supervisor.start(10)
    os.kill(supervisor.pids["one"], signal.SIGSTOP)
    began = time.monotonic()
    await supervisor.stop([])
    assert time.monotonic() - began < 5


PARENT = """
import asyncio, os, sys
from pathlib import Path
from holdfast.cli.embedded.program import Program, Readiness
from holdfast.cli.embedded.supervisor import Supervisor
async def ready(): return Readiness(True)
async def main():
    folder = Path(sys.argv[1])
    one = Program(name="one", argv=[sys.executable, "-c", "import time; time.sleep(600)"], env={},
                  log=folder / "one.log", probe=ready)
    supervisor = Supervisor([one], say=print, changed=lambda: None)
    await supervisor.start(10)
    print(supervisor.pids["one"], flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_children_die_with_their_parent(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    child = int(await asyncio.wait_for(parent.stdout.readline(), 20))
    assert psutil.pid_exists(child)
    parent.kill()
    await parent.communicate()

    async def gone() -> bool:
        return not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE

    await eventually(gone, what="the child gone")


async def test_a_cause_ends_the_start_at_once(tmp_path: Path) -> None:
    async def probe() -> Readiness:
        return Readiness(False, "there is no disk")

    hopeless = program(tmp_path, "hopeless", SLEEP)
    hopeless = msgspec.structs.replace(hopeless, probe=probe)
    supervisor, heard = supervise(hopeless, program(tmp_path, "slow", "pass  # ready\n" + SLEEP))
    began = time.monotonic()
    with pytest.raises(NotReady) as caught:
        await supervisor.start(50)
    assert time.monotonic() - began < 10
    assert (caught.value.name, caught.value.cause) == ("hopeless", "there is no disk")
    assert heard.lines == []
    await supervisor.stop([])


async def test_a_crash_loop_ends_the_start_with_its_cause(tmp_path: Path) -> None:
    code = "print('no such door', flush=True); sys.exit(1)  # ready"
    supervisor, heard = supervise(program(tmp_path, "one", code))
    began = time.monotonic()
    with pytest.raises(NotReady, match=r"one: died 3 times in a row: exit code 1: no such door"):
        await supervisor.start(50)
    assert time.monotonic() - began < 20
    assert heard.lines == []
    await supervisor.stop([])


async def test_a_cause_in_a_running_stack_is_reported_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("")

    async def probe() -> Readiness:
        cause = state.read_text()
        return Readiness(not cause, cause, {"limits": "weak"})

    supervisor, heard = supervise(msgspec.structs.replace(program(tmp_path, "one", SLEEP), probe=probe))
    await supervisor.start(10)
    assert supervisor.notes == {"one": {"limits": "weak"}}
    state.write_text("the disk went away")
    os.kill(supervisor.pids["one"], signal.SIGKILL)

    async def told() -> bool:
        return "one is not ready: the disk went away" in heard.lines

    await eventually(told, what="the cause")
    state.write_text("")

    async def again() -> bool:
        return "one" in supervisor.pids

    await eventually(again, what="ready again")
    assert heard.lines.count("one is not ready: the disk went away") == 1
    await supervisor.stop([])


async def test_hurry_ends_the_wait_for_a_slow_stop(tmp_path: Path) -> None:
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen(sys.argv[1], 'w')  # ready\n" + SLEEP
    supervisor, _ = supervise(program(tmp_path, "deaf", code, stop_timeout=600))
    await supervisor.start(10)
    stopping = asyncio.create_task(supervisor.stop([["deaf"]]))

    async def asked() -> bool:
        return supervisor.stopping == ["deaf"]

    await eventually(asked, what="the stop")
    supervisor.hurry()
    await asyncio.wait_for(stopping, 10)
    assert supervisor.stopping == []
