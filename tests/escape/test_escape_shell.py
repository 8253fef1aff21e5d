"""A command does not reach the program by which its shell runs commands; the end of a shell costs the shell alone."""

import pytest

from tests.escape.conftest import Inside

CLOSED = 'for n in $(seq 3 255); do eval "exec $n>&-"; done 2>/dev/null'

STATE = "keep=1; f() { echo f; }; cd /tmp"

SHELL_TRICKS = {
    "a DEBUG trap": ("trap 'echo trap' DEBUG; true", "trap\n"),
    "a DEBUG trap inherited by functions": ("set -o functrace; trap 'echo trap >&2' DEBUG; f", "trap\n"),
    "an ERR trap": ("trap 'echo trap' ERR; false; true", "trap\n"),
    "a RETURN trap": ("set -T; trap 'echo trap' RETURN; f", "trap\n"),
    "an EXIT trap": ("trap 'echo trap' EXIT; (true); echo on", "on\n"),
    "an EXIT trap of a subshell": ("(trap 'echo trap' EXIT; true); true", "trap\n"),
    "break": ("echo on; break", "on\n"),
    "break of many loops": ("echo on; break 99", "on\n"),
    "continue": ("echo on; continue", "on\n"),
    "return": ("return 0; echo on", "on\n"),
    "exec of its own descriptors": ("exec 10>/tmp/x 11>/tmp/x 12>/tmp/x 13>/tmp/x; echo on", "on\n"),
    "a function called as a builtin": ("printf() { :; }; read() { :; }; eval() { :; }; echo on", "on\n"),
    "an alias of a keyword": ("shopt -s expand_aliases; alias while=:; alias eval=:; echo on", "on\n"),
    "readonly variables": ("readonly IFS PWD; echo on", "on\n"),
    "another IFS": ("IFS=0123456789; echo on", "on\n"),
    "verbose and traced": ("set -vx; echo on", "on\n"),
    "writing to every descriptor": ("for n in /proc/self/fd/* /proc/$$/fd/*; do echo x 2>/dev/null > $n; done; :", "x"),
}


@pytest.mark.parametrize(("command", "seen"), SHELL_TRICKS.values(), ids=SHELL_TRICKS)
async def test_a_command_does_not_cost_the_shell(inside: Inside, command: str, seen: str) -> None:
    await inside.sh(STATE)
    assert seen in await inside.sh(command, timeout_ms=5000)
    await inside.sh("trap - DEBUG ERR RETURN; set +vx")
    assert await inside.sh('echo "$keep"; f; pwd', timeout_ms=5000) == "1\nf\n/tmp\n"


@pytest.mark.parametrize("command", [CLOSED, "exit", "trap 'kill 0' EXIT; exit", "exec true", "exec sh -c 'kill -9 0'"])
async def test_the_end_of_a_shell_is_told_and_costs_the_shell_only(inside: Inside, command: str) -> None:
    await inside.sh("export KEEP=1; cd /tmp; echo kept > /tmp/file")
    assert "the shell ended" in await inside.sh(command)
    assert await inside.sh("pwd; echo $KEEP; cat /tmp/file") == "/tmp\n1\nkept\n"


async def test_line_numbers_in_errors_are_those_of_the_command(inside: Inside) -> None:
    assert await inside.sh("true\nnosuch\n") == "bash: line 2: nosuch: command not found\n[exit code 127]"
    assert await inside.sh("nosuch\ntrue\n") == "bash: line 1: nosuch: command not found\n"
    assert "line 3: syntax error" in await inside.sh("true\n\nif then")
