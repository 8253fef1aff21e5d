"""Folders in, results back, listings: `holdfast` as a user runs it, in pipes and on a terminal."""

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len

from holdfast.cli.client.session_ids import short
from tests.support.folders import git, state, write
from tests.support.model import bash, say
from tests.support.stack import Stack

HOLDFAST = str(Path(sys.executable).parent / "holdfast")
WITHIN = 60.0

pytestmark = pytest.mark.timeout(240)  # each test starts the program several times


class Done:
    """How a run of the program ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.raw = out
        self.out = out.decode(errors="replace")
        self.err = err.decode(errors="replace")

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


async def ended(process: asyncio.subprocess.Process) -> None:
    """Kill it if it has not ended."""
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def holdfast(stack: Stack, *arguments: str) -> Done:
    """Run it in pipes."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        HOLDFAST, *arguments, "--data", str(stack.data), env={"PATH": os.environ["PATH"]},
        stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), WITHIN)
    finally:
        await ended(process)
    done = Done(process.returncode or 0, out, err)
    assert "Traceback" not in done.out + done.err, done
    return done


async def on_terminal(stack: Stack, columns: int, *arguments: str, answers: tuple[tuple[str, str], ...] = ()) -> Done:
    """Run it on a terminal of that width; each answer is typed once its question is seen."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        HOLDFAST, *arguments, "--data", str(stack.data), env={"PATH": os.environ["PATH"], "TERM": "xterm-256color"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    loop, seen, waiting = asyncio.get_running_loop(), b"", list(answers)

    def read() -> bytes:
        try:
            return os.read(ours, 65536)
        except OSError:  # the other side was closed
            return b""

    try:
        async with asyncio.timeout(WITHIN):
            while data := await loop.run_in_executor(None, read):
                seen += data
                if waiting and waiting[0][0].encode() in seen:
                    os.write(ours, waiting.pop(0)[1].encode())
            await process.wait()
    finally:
        await ended(process)
        os.close(ours)
    done = Done(process.returncode or 0, seen.replace(b"\r\n", b"\n"), b"")
    assert "Traceback" not in done.out, done
    return done


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A git repository of a user."""
    made = tmp_path / "project"
    write(made, {"a.txt": "one\n", "b.bin": b"\0\1", ".env": "KEY=hunter2\n", ".gitignore": "*.log\n", "c.txt": "c\n"})
    git(made, "init", "-q")
    git(made, "add", "a.txt", "b.bin", "c.txt", ".gitignore")
    git(made, "commit", "-qm", "first")
    return made


async def newest(stack: Stack) -> str:
    async with stack.client() as client:
        return (await client.beta.sessions.list(limit=1)).data[0].id


EDITS = (
    "cat .env; echo two >> a.txt; printf '\\0\\2\\3' > b.bin; mv c.txt moved.txt; mkdir -p 'app/[id]'; "
    "echo x > 'app/[id]/page.tsx'; echo l > debug.log; ln -s a.txt link; chmod +x a.txt; "
    "git -c user.name=a -c user.email=a@b commit -qam agent"
)


async def test_a_folder_goes_in_and_its_changes_come_back(shared: Stack, project: Path, tmp_path: Path) -> None:
    name = await shared.model.play(bash(EDITS), say("Done."))
    patch = tmp_path / "fix.patch"
    before = state(project)
    run = await holdfast(shared, "run", f"[play:{name}] go", "--dir", str(project), "--patch", str(patch))
    assert run.code == 0, run
    assert "left out (may hold secrets): .env" in run.out
    assert "hunter2" not in run.out
    assert "copying " in run.out
    lines = run.out.splitlines()
    assert "  changed  a.txt" in lines
    assert "  new      app/[id]/page.tsx" in lines
    assert "  renamed  c.txt → moved.txt" in lines
    assert any("1 new commit," in line for line in lines)
    assert not any(".git/" in line for line in lines)
    assert state(project) == before

    session = await newest(shared)
    assert f"holdfast apply {short(session)}" in run.out
    names = await holdfast(shared, "diff", short(session), "--name-only")
    assert names.out.splitlines() == ["a.txt", "app/[id]/page.tsx", "b.bin", "link", "moved.txt"], names
    whole = await holdfast(shared, "diff", session)
    assert whole.raw == patch.read_bytes()
    stat = await holdfast(shared, "diff", session, "--stat")
    assert "binary  changed  b.bin" in stat.out

    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(project), str(clone))
    git(clone, "apply", "--whitespace=nowarn", given=whole.raw)
    applied = await holdfast(shared, "apply", short(session))
    assert applied.code == 0, applied
    assert {path: kept for path, kept in state(project).items() if path != ".env"} == state(clone)
    assert (project / ".env").read_text() == "KEY=hunter2\n"
    assert git(project, "log", "--oneline").count(b"\n") == 1
    assert "has all of it already" in (await holdfast(shared, "apply", session)).out


async def test_apply_at_the_end_of_a_run_and_again_after_the_next_turn(shared: Stack, project: Path) -> None:
    name = await shared.model.play(
        bash("echo two >> a.txt"),
        say("One."),
        bash("echo three >> a.txt"),
        say("Two."),
        bash("echo 4 >> a.txt"),
        say("3"),
    )
    run = await holdfast(shared, "run", f"[play:{name}] go", "--dir", str(project), "--apply")
    assert run.code == 0, run
    assert (project / "a.txt").read_text() == "one\ntwo\n"
    session = await newest(shared)
    more = await holdfast(shared, "run", "more", "--session", short(session), "--apply")
    assert more.code == 0, more
    assert (project / "a.txt").read_text() == "one\ntwo\nthree\n"

    (project / "a.txt").write_text("mine\n")
    refused = await holdfast(shared, "run", "more", "--session", session, "--apply")
    assert refused.code == 1, refused
    assert "a.txt: you changed it since it was copied" in refused.out
    assert (project / "a.txt").read_text() == "mine\n"
    left = await holdfast(shared, "apply", session, "--exclude", "a.txt")
    assert left.code == 0, left
    assert (project / "a.txt").read_text() == "mine\n"


async def test_what_cannot_work_is_refused_before_a_session_is_made(shared: Stack, project: Path) -> None:
    async def count() -> int:
        return len((await holdfast(shared, "sessions", "--all", "--limit", "10000")).out.splitlines())

    before = await count()
    for arguments, why in (
        (("--dir", str(project / "nothing")), "no such folder"),
        (("--dir", str(project / "a.txt")), "not a folder"),
        (("--dir", str(project), "--exclude", "*.rs"), "names nothing"),
        (("--dir", str(project), "--patch", str(project / "no" / "x")), "there is no folder"),
        (("--dir", str(project), "--patch", "-"), "holdfast diff"),
        (("--dir", str(shared.data)), "data folder of the stack"),
        (("--include", "x"), "--dir"),
        (("--apply",), "--apply needs --dir"),
    ):
        done = await holdfast(shared, "run", "x", *arguments)
        assert done.code == 1, done
        assert why in done.err, done
        assert done.err.startswith("holdfast run: ")
    assert await count() == before


@pytest.mark.parametrize(("answer", "goes"), [("y\n", True), ("\n", False)])
async def test_secrets_are_asked_for_on_a_terminal(shared: Stack, project: Path, answer: str, goes: bool) -> None:
    name = await shared.model.play(bash("cat .env"), say("Done."))
    run = await on_terminal(
        shared, 80, "run", f"[play:{name}] go", "--dir", str(project), answers=(("too? [y/N]", answer),)
    )
    assert run.code == 0, run
    assert "these may hold secrets: .env" in run.out
    asked = await shared.model.requests(name, count=2)
    assert ("hunter2" in json.dumps(asked[1].body)) is goes


async def test_sessions_on_terminals_and_in_pipes(shared: Stack) -> None:
    name = await shared.model.play(say("Hello."), title="x")
    task = f"[play:{name}] 日本語の題名 [bold]and a long tail that no terminal can show"
    assert (await holdfast(shared, "run", task)).code == 0
    session = await newest(shared)
    for columns in (40, 80):
        done = await on_terminal(shared, columns, "sessions")
        lines = done.out.splitlines()
        plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
        assert all(cell_len(line) <= columns for line in plain), plain
        mine = next(line for line in plain if line.startswith(short(session)))
        assert "idle" in mine
        assert "[play" in mine
        assert mine.endswith("…")
    piped = await holdfast(shared, "sessions", "--limit", "1")
    values = piped.out.rstrip("\n").split("\t")
    assert values[0] == session
    assert values[1] == "idle"
    assert values[-1] == task[:80]
    found = json.loads((await holdfast(shared, "sessions", "--json")).out)
    assert found[0]["id"] == session
    assert found[0]["status"] == "idle"
    assert found[0]["title"] == task[:80]


async def test_tail_says_that_it_waits_and_takes_short_ids(shared: Stack) -> None:
    name = await shared.model.play(say("Hello."))
    assert (await holdfast(shared, "run", f"[play:{name}] go")).code == 0
    session = await newest(shared)
    lines = (await holdfast(shared, "tail", short(session), "--no-follow", "--json")).out.splitlines()
    events = [json.loads(line) for line in lines]
    assert events[-1]["type"] == "session.status_idle"
    assert any(event["type"] == "agent.message" for event in events)
    shown = await holdfast(shared, "tail", short(session), "--no-follow", "--from", str(len(events)))
    assert shown.out.split()[0] == str(len(events))
    assert shown.out.rstrip().endswith("(the turn is done)")
    assert all(line == line.rstrip() for line in shown.out.splitlines())

    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        HOLDFAST, "tail", short(session), "--data", str(shared.data), env={"PATH": os.environ["PATH"]},
        stdout=pipe, stderr=pipe,
    )  # fmt: skip
    assert process.stderr
    try:
        line = await asyncio.wait_for(process.stderr.readline(), WITHIN)
        assert line == b"(idle; waiting for new events, Ctrl-C ends)\n"
    finally:
        process.terminate()
        await process.communicate()

    for command in ("tail", "diff", "apply"):
        unknown = await holdfast(shared, command, "zzzzzzzz")
        assert unknown.code == 1
        assert "there is no session 'zzzzzzzz'" in unknown.err
    several = await holdfast(shared, "tail", "sesn_a0_01", "--no-follow")
    assert several.code == 1
    assert "names several sessions" in several.err
    assert session in several.err
