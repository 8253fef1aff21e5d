"""README.md from top to bottom as a new user types it: each command of its fenced blocks, in its order, in real shells.

A command that the table EXPECTED does not know fails: add what a user sees after it. `make` itself is not run, since CI
does that; its targets must exist.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.cli.embedded.stack import DEFAULT_PORT
from holdfast.cli.models import DEFAULT_MODEL
from holdfast.session.tasks.bindings import BindingCreate
from tests.support.isolation import Isolation
from tests.support.markdown import Block, blocks, commands, links

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent
SHELL = ("sh", "console")

EXPECTED = {
    r"\. \.venv/bin/activate": "",
    r'holdfast run "Write a haiku to poem\.txt"': r"haiku is in `?poem\.txt",
    r"holdfast sessions": "haiku",
    r"holdfast status": "nats",
    r'eval "\$\(holdfast env\)"': "",
    r"python primes\.py": r"\b1,?229\b",
}
"""Commands of the README, and what their output must have. All must end with exit code 0."""

TWICE = ("python ",)
"""Commands that a user will repeat, and that must work again."""

READY_WITHIN = 60.0


class Terminal:
    """A shell in a folder of its own that keeps its environment from one command to the next, as a terminal does."""

    def __init__(self, folder: Path, home: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / ".venv").symlink_to(BIN.parent)
        self.folder = folder
        self._environ = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "COLUMNS": "120",
        }

    def run(self, command: str) -> tuple[int, str]:
        """Exit code and all output of a command that ends."""
        kept = self.folder / ".environ"
        script = f'{command}\nended=$?\nenv -0 > "$KEPT"\nexit $ended'
        done = subprocess.run(
            ["sh", "-c", script], cwd=self.folder, env={**self._environ, "KEPT": str(kept)}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            self._environ = dict(pair.split("=", 1) for pair in kept.read_text().split("\0") if pair)
        return done.returncode, done.stdout

    @contextlib.contextmanager
    def running(self, command: str, ready: str) -> Iterator[str]:
        """A command that goes on until Ctrl-C, from the moment at which its output has `ready`; gives its output."""
        log = self.folder / "output"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {command}"], cwd=self.folder, env=self._environ, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + READY_WITHIN
            while not re.search(ready, log.read_text()):
                assert process.poll() is None, f"{command} ended:\n{log.read_text()}"
                assert time.monotonic() < deadline, f"{command} was not ready in time:\n{log.read_text()}"
                time.sleep(0.05)
            yield log.read_text()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0, log.read_text()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


def targets() -> set[str]:
    """What `make help` lists."""
    return set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))


def expectation(command: str) -> str | None:
    return next((wanted for pattern, wanted in EXPECTED.items() if re.fullmatch(pattern, command)), None)


def shell_commands() -> list[tuple[int, str]]:
    return [found for block in blocks(README) if block.language in SHELL for found in commands(block)]


def test_every_block_says_what_it_is() -> None:
    known = {*SHELL, "python", "text", "yaml"}
    assert [f"README.md:{b.line - 1}: {b.language!r}" for b in blocks(README) if b.language not in known] == []
    assert {"sh", "python"} <= {block.language for block in blocks(README)}


def test_the_binding_is_one_that_the_api_takes() -> None:
    (block,) = [block for block in blocks(README) if block.language == "yaml"]
    binding = msgspec.yaml.decode(block.text, type=BindingCreate)
    assert binding.session_key is not None
    assert f"/v1/tasks/{binding.kind}" in README


def test_every_make_target_exists() -> None:
    named = [target for _, command in shell_commands() if command.startswith("make ") for target in command.split()[1:]]
    assert named
    assert set(named) <= targets()


def test_every_command_has_an_expectation() -> None:
    unknown = [
        f"README.md:{line}: {command}"
        for line, command in shell_commands()
        if not command.startswith(("make ", "holdfast up")) and expectation(command) is None
    ]
    assert unknown == []


def test_every_link_leads_to_a_file() -> None:
    assert links(README)
    assert [target for target in links(README) if not (ROOT / target).exists()] == []


def test_the_only_model_that_is_named_is_the_default_one() -> None:
    assert set(re.findall(r"claude-[a-z]+-\d[\w.-]*", README)) <= {DEFAULT_MODEL}


@pytest.mark.timeout(240)
def test_the_commands_do_what_they_say(isolation: Isolation, tmp_path: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", DEFAULT_PORT)) == 0:
            pytest.skip(f"port {DEFAULT_PORT}, which `holdfast up` takes, is in use on this machine")
    home = tmp_path / "home"
    home.mkdir()
    first, second = Terminal(tmp_path / "checkout", home), Terminal(tmp_path / "project", home)
    for block in blocks(README):
        if block.language == "python":
            (second.folder / _file_name(block)).write_text(block.text)
    with contextlib.ExitStack() as stack:
        terminal, ups = first, 0
        for line, command in shell_commands():
            if command.startswith("make "):
                continue
            if command.startswith("holdfast up"):
                stack.enter_context(terminal.running(command, "ready after"))
                terminal, ups = second, ups + 1
                continue
            for _ in range(2 if command.startswith(TWICE) else 1):
                code, output = terminal.run(command)
                assert code == 0, f"README.md:{line}: {command}\n{output}"
                assert re.search(expectation(command) or "", output), f"README.md:{line}: {command}\n{output}"
        assert ups == 1
    for block in blocks(README):
        if block.language == "python":
            assert any(command == f"python {_file_name(block)}" for _, command in shell_commands())


def _file_name(block: Block) -> str:
    """The file that the paragraph before a block names as its place."""
    found = re.search(r"`([\w-]+\.py)`", block.before)
    assert found, f"README.md:{block.line - 1}: the paragraph before the block does not name its file"
    return found[1]
