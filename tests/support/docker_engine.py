"""The Docker engine for tests of the driver `docker`.

A test that needs one calls `require_driver("docker")`. It uses the engine whose socket
HOLDFAST_TEST_DOCKER_SOCKET names, else the usual one, if it has the image of the sandboxes. Without it the test is
skipped with the cause, or fails with HOLDFAST_TEST_DOCKER=required.

    python -m tests.support.docker_engine COMMAND...

runs the command with an engine of its own: it starts `dockerd` (which must be installed; root) with all of its files in
.cache/docker, builds the image from Debian's packages if it is missing there, and stops the engine after. Exit code 77:
this machine cannot have one.
"""

import asyncio
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

import docker
import psutil
import pytest

from holdfast.bus.ids import new_id
from holdfast.sandbox.drivers import DRIVERS, SandboxUnavailable
from holdfast.sandbox.drivers.docker.door import look
from holdfast.sandbox.settings import MIB, SandboxSettings
from tests.support.isolation import require_sandbox

REQUIRED: Final = os.environ.get("HOLDFAST_TEST_DOCKER") == "required"
"""Whether tests fail, and are not skipped, without an engine."""

SOCKET: Final = os.environ.get("HOLDFAST_TEST_DOCKER_SOCKET", "/var/run/docker.sock")
"""Socket of the engine."""

IMAGE: Final = SandboxSettings().docker_image

CACHE: Final = Path(__file__).parents[2] / ".cache"

IMAGE_TAR: Final = CACHE / "sandbox-image.tar"
"""The root file system of the image. It is built once; remove it when deploy/sandbox has changed."""

NO_SOCKETS: Final = "holdfast-no-sockets"
"""Name of a runtime in whose containers no socket of the host can be opened, as in those of gVisor and Kata."""

START_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 30

CANNOT: Final = 77
"""Exit code when this machine cannot run an engine."""


@functools.cache
def unavailable() -> str:
    """Why no sandbox of the driver docker can be made; empty if one was made."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(_probe())))  # the caller may be in an event loop
    thread.start()
    thread.join()
    return found[0] if found else "the probe raised an unexpected error; see the traceback above"


async def _probe() -> str:
    with tempfile.TemporaryDirectory(prefix="holdfast-docker-") as folder:
        settings = SandboxSettings(
            driver="docker", docker_socket=SOCKET, data_dir=folder, memory_bytes=256 * MIB, disk_reserve_bytes=0
        )
        driver = DRIVERS["docker"](settings)
        await driver.open(new_id("wrk"))
        try:
            await driver.probe()
        except SandboxUnavailable as exc:
            return exc.cause
        finally:
            await driver.close()
        return ""


def require_driver(name: str) -> None:
    """Skip the test, or fail it where CI requires sandboxes, if no sandbox of this driver can be made."""
    if name != "docker":
        require_sandbox()
    elif cause := unavailable():
        sentence = f"no Docker sandbox can be made here: {cause}"
        if REQUIRED:
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)


_started: list[subprocess.Popen[bytes]] = []
"""The engines of this process. One that is forgotten while it runs would be warned of."""


class EngineProcess:
    """An engine with all of its files in `folder`: the images stay there from one to the next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"

    def start(self) -> None:
        """Start it, wait until it answers, and load the image if it is missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Without a bridge and rules of a firewall: the machine is left as it was, and no container has a network.
        command = [
            "dockerd", "--host", f"unix://{self.socket}", "--data-root", str(self.folder / "data"),
            "--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid"), "--bridge", "none",
            "--iptables=false", "--ip-masq=false", "--add-runtime",
            f"{NO_SOCKETS}={_runtime_without_sockets(self.folder)}",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        _started.append(process)
        deadline = time.monotonic() + START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            if not look(str(self.socket)).error:
                _load_image(self.socket)
                return
            time.sleep(0.1)
        raise SystemExit(f"dockerd did not start:\n{(self.folder / 'log').read_text(errors='replace')[-2000:]}")

    @property
    def process(self) -> psutil.Process:
        """The process that runs now, also if somebody else has started it."""
        return psutil.Process(int((self.folder / "pid").read_text()))

    def stop(self) -> None:
        """End it and wait for it. Nothing happens if it does not run."""
        try:
            process = self.process
        except (FileNotFoundError, psutil.NoSuchProcess):
            return
        process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while _runs(process):
            assert time.monotonic() < deadline, "dockerd does not end"
            time.sleep(0.05)


def _runtime_without_sockets(folder: Path) -> Path:
    """A program that is `runc` but for bound folders with sockets: in their place it puts empty ones."""
    script = f"""#!{sys.executable}
import json, os, pathlib, sys
if "create" in sys.argv:
    file = pathlib.Path(sys.argv[sys.argv.index("--bundle") + 1], "config.json")
    config = json.loads(file.read_text())
    for mount in config["mounts"]:
        source = pathlib.Path(mount["source"])
        if source.is_dir() and any(path.is_socket() for path in source.iterdir()):
            mount.update(type="tmpfs", source="tmpfs", options=["ro"])
    file.write_text(json.dumps(config))
os.execvp("runc", ["runc", *sys.argv[1:]])
"""
    path = folder.absolute() / NO_SOCKETS
    path.write_text(script)
    path.chmod(0o755)
    return path


def _runs(process: psutil.Process) -> bool:
    """Whether it has not ended. It may be the child of another process, which has not waited for it yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _load_image(socket: Path) -> None:
    with contextlib.closing(docker.APIClient(base_url=f"unix://{socket}", version="auto", timeout=120)) as client:
        if client.images(IMAGE):
            return
        if not IMAGE_TAR.exists():
            subprocess.run([Path(__file__).parents[2] / "deploy/sandbox/make-image", IMAGE_TAR], check=True)
        client.import_image_from_file(str(IMAGE_TAR), repository=IMAGE, changes=["WORKDIR /workspace"])


def main(command: list[str]) -> int:
    """Run the command with an engine; its exit code."""
    missing = [name for name in ("dockerd", "containerd", "runc") if shutil.which(name) is None]
    if not IMAGE_TAR.exists() and shutil.which("mmdebstrap") is None:
        missing.append("mmdebstrap")
    if missing or os.geteuid() != 0:
        print(f"no Docker engine can be started here: {', '.join(missing) or 'this user is not root'}")  # noqa: T201  a command line
        return CANNOT
    own = EngineProcess(CACHE / "docker")
    own.start()
    try:
        variables = {"HOLDFAST_TEST_DOCKER": "required", "HOLDFAST_TEST_DOCKER_SOCKET": str(own.socket)}
        return subprocess.run(command, env={**os.environ, **variables}, check=False).returncode
    finally:
        own.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
