"""Where no control group can be written: consent, refusal with its cause, and what systemd can give."""

import asyncio
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.process.settings import ProcessSettings
from tests.support.eventually import eventually
from tests.support.isolation import Isolation
from tests.support.sandbox import DrivenSession, WorkerProcess
from tests.support.servers import ROOT, NatsServer, nats_server

READ_ONLY = "for group in $(findmnt -rno TARGET -t cgroup,cgroup2); do mount -o remount,bind,ro $group; done"
UNWRITABLE = ("unshare", "--mount", "sh", "-c", f'{READ_ONLY} && exec "$@"', "sh")
"""Runs a program as root where control groups are read-only, as in a container."""

NOTE = "each process alone, not the whole sandbox (no control group can be written)"


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def bus(nats: NatsServer) -> AsyncIterator[NatsBus]:
    client = await connect(ProcessSettings(nats_url=nats.url), name="test")
    yield client
    await client.close()


@pytest.fixture
def prefix(isolation: Isolation) -> tuple[str, ...]:
    """What makes this machine one without writable control groups: nothing, if it is one."""
    if isolation.weak:
        return ()
    if os.geteuid() != 0 or subprocess.run([*UNWRITABLE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("control groups can be written here, and only root can make them read-only")
    return UNWRITABLE


async def test_with_consent_sandboxes_are_made_and_the_weak_limits_told(
    nats: NatsServer, bus: NatsBus, prefix: tuple[str, ...], tmp_path: Path
) -> None:
    worker = WorkerProcess(nats.url, tmp_path, prefix=prefix)
    try:
        await worker.start()
        _, body = await worker.probe()
        assert body["notes"]["limits"].startswith(NOTE)
        assert ("number of processes" in body["notes"]["limits"]) == (os.geteuid() == 0)
        assert body["checks"]["sandbox"]["cause"] == ""
        hands = DrivenSession(bus)
        await hands.begin()
        await hands.bind()
        assert await hands.bash("echo made; ulimit -d") == "made\n1048576\n"
        assert "crashed" not in worker.log()
    finally:
        worker.kill()


async def test_without_consent_the_cause_and_the_commands_are_there_at_once(
    nats: NatsServer, prefix: tuple[str, ...], tmp_path: Path
) -> None:
    worker = WorkerProcess(nats.url, tmp_path, prefix=prefix, allow_weak_limits="false")
    worker.begin()
    try:

        async def cause() -> str:
            _, body = await worker.probe()
            return str(body["checks"]["sandbox"]["cause"]) if body else ""

        lines = (await eventually(cause, what=f"the cause; {worker.log()[-1000:]}")).splitlines()
        assert lines[0] == "No control group can be written, so the memory of a sandbox as a whole cannot be limited."
        assert lines[-1].endswith(": HOLDFAST_ALLOW_WEAK_LIMITS=true holdfast up")
        assert "README" not in str(lines)
        assert worker.log().count("no sandbox can be had") == 1
    finally:
        worker.kill()


async def test_a_data_folder_that_cannot_be_made_is_a_bad_setting(nats: NatsServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    worker = WorkerProcess(nats.url, tmp_path, data_dir=tmp_path / "file")
    worker.begin()
    assert await asyncio.to_thread(worker.wait) == 2
    assert "HOLDFAST_DATA_DIR: no folder can be made in" in worker.log()
    assert "Traceback" not in worker.log()


USER = pwd.getpwnam("nobody").pw_uid
"""The bus refuses users that the machine does not know."""

ASK = f"""
import os
from pathlib import Path
from holdfast.sandbox.drivers.bubblewrap import delegation
os.setgroups([])
os.setresgid({USER}, {USER}, {USER})
os.setresuid({USER}, {USER}, {USER})
print("refusal:", repr(delegation._enter_delegated_group()))
group = open("/proc/self/cgroup").read().split("0::/")[1].strip()
print("group:", group)
members = (Path(os.environ["GROUP"]).parent / group / "cgroup.procs").read_text().split()
print("members:", [int(pid) for pid in members] == [os.getpid()])
"""


@pytest.mark.skipif(
    os.geteuid() != 0
    or not Path("/lib/systemd/systemd").exists()
    or not all(map(shutil.which, ("busctl", "dbus-daemon", "findmnt", "setpriv"))),
    reason="a service manager of the test needs root, systemd, busctl and dbus-daemon",
)
def test_systemd_moves_the_service_into_a_scope_of_its_own() -> None:
    """A real service manager (`systemd --user`) in a control group of the test, on a bus of the test."""
    mounts = subprocess.run(["findmnt", "-rno", "TARGET", "-t", "cgroup2"], capture_output=True, text=True, check=False)
    if not mounts.stdout.strip():
        pytest.skip("the unified hierarchy is not mounted here")
    group = Path(mounts.stdout.split()[0]) / f"holdfast-test-{os.getpid()}"
    with tempfile.TemporaryDirectory() as runtime:  # pytest's own is closed to other users
        os.chown(runtime, USER, USER)
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "GROUP": str(group), "XDG_RUNTIME_DIR": runtime,
            "MANAGER_UID": str(USER),
        }  # fmt: skip
        done = subprocess.run(
            ["unshare", "--mount", "sh", ROOT / "tests/support/service_manager.sh", sys.executable, "-c", ASK],
            env=environment, capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
    if "cannot be started here" in done.stdout:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert "refusal: ''" in done.stdout, done.stdout + done.stderr
    assert "members: True" in done.stdout
    assert re.search(rf"group: {group.name}/.*/holdfast-[0-9]+-[0-9a-f]+\.scope", done.stdout), done.stdout
    assert not group.exists()
