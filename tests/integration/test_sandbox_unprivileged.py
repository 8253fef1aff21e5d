"""The same sandbox for an ordinary user with no control group: the real command line, started as one."""

import os
import platform
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.sandbox.drivers import frames
from holdfast.sandbox.drivers.bubblewrap import arguments, seccomp
from holdfast.sandbox.drivers.bubblewrap.arguments import SandboxSpec
from holdfast.sandbox.drivers.bubblewrap.hierarchy import Hierarchy
from holdfast.sandbox.drivers.bubblewrap.host import find_host
from holdfast.sandbox.settings import MIB
from tests.support.isolation import Isolation, sandbox_settings

USER = 64_100 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
"""A user of this worker of pytest-xdist alone: RLIMIT_NPROC counts processes by user."""

AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")

PIDS = 40

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="an ordinary user already: every other test is this one"
)


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder that an ordinary user reaches; pytest's own is closed to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


class StartedSandbox:
    """A sandbox of an ordinary user; the test holds the pipes to its agent."""

    def __init__(self, data: Path, *more: str) -> None:
        """`more` is put before the command line of the sandbox."""
        (data / "run").mkdir()
        (data / "workspace").mkdir()
        os.chown(data / "workspace", USER, USER)
        host = find_host(sandbox_settings(data_dir=str(data)), data / "run", Hierarchy("weak", {}))
        spec = SandboxSpec(
            workspace=data / "workspace", tmp_bytes=16 * MIB, file_bytes=8 * MIB, memory_bytes=300 * MIB, pids=PIDS,
            weak=True, groups=(),
        )  # fmt: skip
        filter_fd = os.memfd_create("seccomp")
        os.write(filter_fd, seccomp.compiled(platform.machine()))
        os.lseek(filter_fd, 0, os.SEEK_SET)
        info_read, info_write = os.pipe()
        self.process = subprocess.Popen(
            [*AS_USER, *more, *arguments.command(host.layout, spec, filter_fd, info_write)],
            pass_fds=(filter_fd, info_write), env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd="/",
        )  # fmt: skip
        for fd in (filter_fd, info_write):
            os.close(fd)
        greeting = self._frame()
        os.close(info_read)
        assert greeting, self.process.communicate()[1].decode()
        frames.decode_hello(greeting)

    def _frame(self) -> bytes:
        assert self.process.stdout
        header = self.process.stdout.read(4)
        return self.process.stdout.read(struct.unpack(">I", header)[0]) if header else b""

    def sh(self, command: str) -> str:
        assert self.process.stdin
        ask = {"id": 1, "name": "bash", "input": {"command": command}, "limit": 20}
        self.process.stdin.write(frames.encode(ask))
        self.process.stdin.flush()
        return str(msgspec.json.decode(self._frame())["content"][0]["text"])


@pytest.fixture
def started(data: Path, isolation: Isolation) -> Iterator[StartedSandbox]:
    sandbox = StartedSandbox(data)
    yield sandbox
    sandbox.process.kill()
    sandbox.process.communicate()


def test_the_walls_are_the_same(started: StartedSandbox, data: Path) -> None:
    assert started.sh("id -u; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'") == (
        "1000\nCapEff:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n"
    )
    assert (
        started.sh("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; unshare -Ur true 2>&1 | grep -c perm")
        == "lo\n1\n"
    )
    assert started.sh("echo kept > file; cat file") == "kept\n"
    assert (data / "workspace" / "file").stat().st_uid == USER


def test_limits_hold_for_each_process(started: StartedSandbox) -> None:
    assert started.sh("ulimit -n; ulimit -c; ulimit -d; ulimit -u; ulimit -v") == "512\n0\n307200\n40\nunlimited\n"
    assert "MemoryError" in started.sh("python3 -c 'x = bytearray(400 << 20)'")
    assert started.sh("head -c 20M /dev/zero > f 2>/dev/null; stat -c %s f").endswith(f"{8 * MIB}\n")
    code = (
        "import os, time\nn = 0\ntry:\n while os.fork(): n += 1\n"
        "except OSError as e: print(n < 40, e.errno)\nelse: time.sleep(5)"
    )
    assert started.sh(f"python3 -c '{code}'; echo alive") == "True 11\nalive\n"


def test_processes_of_the_user_outside_do_not_count(data: Path, isolation: Isolation) -> None:
    """A desktop has hundreds of them, more than a sandbox may have."""
    script = f'p=; for i in $(seq {2 * PIDS}); do sleep 300 & p="$p $!"; done; echo there; read end; kill $p; wait'
    crowd = subprocess.Popen(
        [*AS_USER, "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        assert crowd.stdout
        assert crowd.stdout.readline() == b"there\n"
        sandbox = StartedSandbox(data)
        try:
            assert sandbox.sh("echo $(echo alive)") == "alive\n"
        finally:
            sandbox.process.kill()
            sandbox.process.communicate()
    finally:
        crowd.communicate()  # the end of its input ends it, and it waits for its own


def test_a_program_that_reserves_many_addresses_runs(started: StartedSandbox) -> None:
    """As node, Java and Go do: 64 GiB of addresses of which nothing is used."""
    code = "import mmap; mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE, prot=0); print(1)"
    assert started.sh(f"python3 -c '{code}'") == "1\n"


def test_a_user_with_lower_limits_of_its_own_keeps_them(data: Path, isolation: Isolation) -> None:
    sandbox = StartedSandbox(data, "prlimit", "--nofile=300:300", "--nproc=30:30", f"--data={200 * MIB}:{200 * MIB}")
    try:
        assert sandbox.sh("ulimit -n; ulimit -u; ulimit -d") == "300\n30\n204800\n"
    finally:
        sandbox.process.kill()
        sandbox.process.communicate()
