"""A time limit ends a whole command and nothing else; what the end of a shell loses is told as it is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.sandbox.settings import MIB
from tests.support.isolation import Isolation
from tests.support.sandbox_tools import Tools, new_tools, text_of

COMMANDS = (
    "echo early; sleep 60; echo late",
    "sleep 60\necho late",
    "sleep 60 || echo late",
    "! sleep 60; echo late",
    "f() { sleep 60; echo late; }; g() { f; echo late; }; g; echo late",
    "for i in 1 2 3; do sleep 60; echo late; done; echo late",
    "while read -r line; do sleep 60; echo late; done < /etc/passwd; echo late",
    "while true; do sleep 0.1; done; echo late",
    "while :; do :; done; echo late",
    "for ((;;)); do while [[ 1 ]]; do ((x++)); done; done; echo late",
    "f() { while :; do :; done; }; f; f; echo late",
    "x=$(sleep 60); echo late",
    "case $(sleep 60) in *) echo late;; esac",
    "if sleep 60; then echo late; else echo late; fi",
    "sleep 60 | cat; echo late",
    "{ sleep 60; echo late; } | cat; echo late",
    "(sleep 60; echo late); echo late",
    "bash -c 'sleep 60; echo late'; echo late",
    "eval 'sleep 60; echo late'; echo late",
    "sleep 60 & wait; echo late",
    "coproc sleep 60; wait; echo late",
    "trap '' TERM; sleep 60; echo late",
    "trap 'echo trapped' TERM; sleep 60; echo late",
    "trap 'echo debug' DEBUG; sleep 60; echo late",
    "trap 'echo err' ERR; sleep 60; echo late",
    "set -T; f() { sleep 60; }; f; echo late",
    "python3 -c 'import time; print(1); time.sleep(60); print(\"late\")'; echo late",
)


@pytest.fixture
async def tools(tmp_path: Path, isolation: Isolation) -> AsyncIterator[Tools]:
    async with new_tools(tmp_path, memory_bytes=512 * MIB, call_timeout=30) as made:
        yield made


async def test_the_time_limit_ends_the_whole_command_and_keeps_the_shell(tools: Tools) -> None:
    """Case T01, and its kind: whatever a command consists of, nothing of it runs behind its limit."""
    await tools.sh("mkdir sub; cd sub; export A=1; b=2; f0() { echo f; }; shopt -s nullglob; sleep 94 &")
    for command in COMMANDS:
        outcome = await tools.call("bash", command=command, timeout_ms=400)
        said = text_of(outcome)
        assert outcome.is_error, command
        assert "late" not in said, command
        assert "the shell is kept" in said, command
        state = await tools.sh(
            "trap - TERM DEBUG ERR; set +T; pwd; echo $A $b; f0; shopt -q nullglob && jobs | grep -c sleep.94"
        )
        assert state.replace("debug\n", "") == "/workspace/sub\n1 2\nf\n1\n", command
        assert (
            await tools.sh("for i in 1 2; do echo $i; done; shopt -q extdebug; echo $?; trap -p DEBUG") == "1\n2\n1\n"
        )


async def test_what_was_printed_before_the_limit_is_shown(tools: Tools) -> None:
    """Case S11."""
    for command in (
        "echo line; sleep 60",
        "python3 -c 'import time; print(\"line\"); time.sleep(60)'",
        "printf line; sleep 9",
    ):
        outcome = await tools.call("bash", command=command, timeout_ms=1500)
        assert text_of(outcome).startswith("line")
        assert "timed out after 1.5 s" in text_of(outcome)


async def test_a_debug_trap_of_a_command_lasts_over_a_stop(tools: Tools) -> None:
    await tools.sh("trap 'echo trap' DEBUG; set -T")
    await tools.call("bash", command="sleep 60; echo late", timeout_ms=300)
    assert await tools.sh("echo on") == "trap\non\n"
    assert "late" not in await tools.sh(
        "trap - DEBUG; set -o | grep functrace; f() { sleep 60; }; f; echo late", timeout_ms=300
    )


async def test_a_cancel_ends_the_whole_command_too(tools: Tools) -> None:
    await tools.sh("keep=1")
    running = asyncio.create_task(
        tools.sandbox.run("one", "bash", {"command": "touch started; sleep 60; touch late; echo late"})
    )
    reader = asyncio.create_task(tools.sandbox.run("two", "bash", {"command": "echo $keep; ls"}))
    async with asyncio.timeout(20):
        while not (await tools.call("glob", pattern="started")).content[0]["text"].endswith("started"):
            pass
    await tools.sandbox.cancel("one")
    assert "late" not in text_of(await running)
    assert text_of(await reader) == "1\nstarted\n"


async def test_a_command_that_cannot_be_stopped_costs_the_shell_and_that_is_told(tools: Tools) -> None:
    await tools.sh("cd /tmp; export A=1; mkfifo fifo")
    outcome = await tools.call("bash", command="cd /usr; export A=2; read x < /tmp/fifo; echo late", timeout_ms=300)
    assert "late" not in text_of(outcome)
    assert "the shell with it" in text_of(outcome)
    assert "a new one in /tmp with the exported variables that it had before this command" in text_of(outcome)
    assert await tools.sh("pwd; echo $A") == "/tmp\n1\n"


@pytest.mark.parametrize(
    "command",
    [
        "mkdir app && cd app && export KEEP=1 && set -e && false",
        "mkdir app; cd app; export KEEP=1; exit 3",
        "mkdir app; cd app; export KEEP=1; set -u; echo $nope",
        "mkdir app; cd app; export KEEP=1; f() { exit 3; }; f; echo x",
        "mkdir app; cd app; export KEEP=1; for i in 1 2; do echo ${nope?gone}; done",
        "set -C; mkdir app; cd app; export KEEP=1; { exit 3; } > out",
    ],
)
async def test_a_shell_that_ends_in_a_command_keeps_folder_and_variables_of_that_moment(
    tools: Tools, command: str
) -> None:
    """Case S23."""
    await tools.sh("export KEEP=0")
    said = await tools.sh(command)
    assert "a new one in /workspace/app with the exported variables that it had at its end" in said
    assert await tools.sh("pwd; echo $KEEP") == "/workspace/app\n1\n"


@pytest.mark.parametrize(
    "command", ["cd /tmp; export KEEP=1; kill -9 $$", "cd /tmp; KEEP=1; exec true", "cd /tmp; trap 'true' EXIT; exit"]
)
async def test_a_shell_that_could_not_tell_its_state_is_not_said_to_have(tools: Tools, command: str) -> None:
    await tools.sh("export KEEP=0")
    said = await tools.sh(command)
    assert "a new one in /workspace with the exported variables that it had before this command" in said
    assert await tools.sh("pwd; echo $KEEP") == "/workspace\n0\n"


async def test_a_folder_that_is_gone_is_not_promised(tools: Tools) -> None:
    said = await tools.sh("mkdir gone; cd gone; rmdir ../gone; exit 1")
    assert "a new one in /workspace with" in said
    assert await tools.sh("pwd") == "/workspace\n"


async def test_leaving_loops_that_are_not_the_commands_own_costs_nothing(tools: Tools) -> None:
    await tools.sh("keep=1")
    for command in ("break", "break 99", "continue", "continue 99", "while :; do break 9; done", "return 0"):
        await tools.sh(command)
        assert await tools.sh("echo $keep") == "1\n", command


async def test_bash_counts_the_lines_of_a_command_from_one(tools: Tools) -> None:
    assert "bash: line 2: nope: command not found" in await tools.sh("true\nnope")
    assert "line 1: syntax error" in await tools.sh("if then")


async def test_a_shell_that_ignores_the_stop_is_killed_before_the_next_line(tools: Tools) -> None:
    for given in ("trap '' RTMAX-3; sleep 60; echo late", "sleep 60\necho late"):
        await tools.sh("trap '' RTMAX-3" if given.startswith("sleep") else "true")
        outcome = await tools.call("bash", command=given, timeout_ms=300)
        assert "late" not in text_of(outcome)
        assert "the shell with it" in text_of(outcome)
        assert await tools.sh("echo on; sleep 0.1; trap -p RTMAX-3 | grep -c __holdfast_stop") == "on\n1\n"
