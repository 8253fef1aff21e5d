"""Commands that clean up after themselves do not reach the parts of the platform: agent, its stream, its files."""

import asyncio

import pytest

from tests.escape.conftest import Inside, text_of

SERVER = "(cd /tmp && exec python3 -m http.server 8123 --bind 127.0.0.1 >/dev/null 2>&1) &"
"""A background job such as models start: a Python program, as the agent is one."""

UP = "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 8123), 9).close()'"
"""Succeeds if the server accepts a connection."""

CLEAN_UPS = {
    "pkill -f with the command": "pkill -f http.server",
    "pkill with the name": "pkill python3",
    "pkill -9 with a pattern": "pkill -9 -f python",
    "killall": "killall python3 || pkill -x python3",
    "ps and xargs": "ps -eo pid,comm | awk '/python/ {print $1}' | xargs kill -9",
    "a loop over /proc": (
        "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' < $p/cmdline) in *python*) kill -9 ${p#/proc/};; esac; done"
    ),
    "kill -1 of the shell": "kill -9 -1",
    "all processes but the shell": "for p in /proc/[0-9]*; do n=${p#/proc/}; [ $n = $$ ] || kill -9 $n; done",
    "process 1 by every signal": "for s in $(seq 64); do kill -$s 1; done; kill %1",
}


@pytest.mark.parametrize("command", CLEAN_UPS.values(), ids=CLEAN_UPS)
async def test_ending_a_server_ends_neither_sandbox_nor_shell(inside: Inside, command: str) -> None:
    await inside.call("write", file_path="file", content="kept")  # a helper of the agent waits for the next such call
    await inside.sh(f"keep=1; cd /tmp; echo kept > /tmp/file; {SERVER}")
    assert await inside.sh(f"until {UP} 2>/dev/null; do :; done; echo up") == "up\n"
    await inside.sh(command)
    seen = await inside.sh(f"wait; {UP} 2>/dev/null || echo down; echo $keep; pwd; cat /tmp/file")
    assert seen.endswith("down\n1\n/tmp\nkept\n")  # before it bash may say that its job was killed
    assert text_of(await inside.call("read", file_path="file")) == "kept"


async def test_what_a_command_stops_goes_on_at_the_next_call(inside: Inside) -> None:
    """A stopped process is not dead: its call would wait for its time limit."""
    await inside.call("write", file_path="file", content="kept")  # a helper waits for the next such call
    await inside.sh("keep=1; pkill -STOP python3; pkill -STOP -f python; kill -STOP -1; true")
    async with asyncio.timeout(10):
        assert text_of(await inside.call("read", file_path="file")) == "kept"
        await inside.sh("(until test -e go; do sleep 0.05; done; kill -STOP $$; touch stopped) &")
        await inside.call("write", file_path="go", content="")
        while not text_of(await inside.call("glob", pattern="stopped")).endswith("/stopped"):
            pass
        assert await inside.sh("echo $keep") == "1\n"


async def test_a_program_that_kills_all_it_can_ends_the_shell_and_not_the_sandbox(inside: Inside) -> None:
    await inside.sh("export KEEP=1; cd /tmp; echo kept > /tmp/file")
    outcome = await inside.call("bash", command="python3 -c 'import os; os.kill(-1, 9)'; echo not reached")
    assert outcome.is_error
    assert "the shell ended" in text_of(outcome)
    assert await inside.sh("pwd; echo $KEEP; cat /tmp/file") == "/tmp\n1\nkept\n"


async def test_orphans_do_not_stay_as_dead_processes(inside: Inside) -> None:
    """The agent is the first process, which inherits those whose parent has ended; they count against the limit."""
    seen = await inside.sh(
        "for i in $(seq 150); do (true &); done; sleep 0.2; grep -l 'State:.Z' /proc/*/status | wc -l"
    )
    assert seen == "0\n"
    assert await inside.sh("(sleep 0.1 &); (exit 3); echo $?; wait; echo on") == "3\non\n"


async def test_cleaning_a_repository_takes_nothing_that_later_calls_need(inside: Inside) -> None:
    await inside.sh("git init -q . && echo x > f && git add f && git -c user.name=a -c user.email=b commit -qm one")
    await inside.sh("seq 1 30000; git clean -qffdx")
    assert await inside.sh("cd ~ && pwd && touch ok && ls && git config --global user.name a && echo on") == (
        "/workspace/.holdfast/home\nok\non\n"
    )
    long = await inside.sh("cd /workspace; rm -rf .holdfast; seq 1 30000")
    path = long.split("the whole output is in ")[1].split("]")[0]
    assert await inside.sh(f"wc -l < {path}; git status --short") == "30000\n"


async def test_the_platform_s_processes_cannot_be_opened(inside: Inside) -> None:
    await inside.call("write", file_path="file", content="kept")
    # Another child of the agent than the shell.
    helper = (await inside.sh("ps -o pid= --ppid 1 | grep -vw $$")).strip()
    assert helper.isdecimal()
    for process in (1, helper):
        for entry in ("mem", "environ", "maps", "fd/0", "fd/1"):
            assert "Permission denied" in await inside.sh(f"head -c 1 /proc/{process}/{entry}")
    assert await inside.sh(f"cat /proc/{helper}/oom_score_adj") == "1000\n"
    assert await inside.sh("cat /proc/$$/oom_score_adj; head -c 4 /proc/$$/environ") == "1000\nPATH"
