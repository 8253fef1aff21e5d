"""The Docker engine for tests of the driver `docker`.

A test that needs one calls `require_docker()`. It uses the engine whose socket HOLDFAST_TEST_DOCKER_SOCKET names, else
the usual one, if it has the image of the sandboxes; without it the test is skipped with the cause, or fails with
HOLDFAST_TEST_DOCKER=required.

    python -m tests.support.docker_engine COMMAND...

runs the command with an engine of its own: it starts `dockerd` (which must be installed; root) with all of its files in
.cache/docker, builds the image from Debian's packages if it is missing there, and stops the engine after. Exit code 77:
this machine cannot have one.
"""

import asyncio
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import docker
import pytest

from holdfast.bus.ids import new_id
from holdfast.sandbox.drivers import DRIVERS, SandboxUnavailable
from holdfast.sandbox.settings import MIB, SandboxSettings

REQUIRED: Final = os.environ.get("HOLDFAST_TEST_DOCKER") == "required"
"""Whether tests fail, and are not skipped, without an engine."""

SOCKET: Final = os.environ.get("HOLDFAST_TEST_DOCKER_SOCKET", "/var/run/docker.sock")
"""Socket of the engine."""

IMAGE: Final = SandboxSettings().docker_image

CACHE: Final = Path(__file__).parents[2] / ".cache"

IMAGE_TAR: Final = CACHE / "sandbox-image.tar"
"""The root file system of the image. It is built once; remove it when deploy/sandbox has changed."""

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


def require_docker() -> None:
    """Skip the test, or fail it if REQUIRED, where no sandbox of the driver docker can be made."""
    if cause := unavailable():
        sentence = f"no Docker sandbox can be made here: {cause}"
        if REQUIRED:
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)


@contextmanager
def engine(folder: Path) -> Iterator[Path]:
    """An engine with all of its files in `folder`; its socket. The image is loaded if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    socket = folder / "docker.sock"
    # Without a bridge and rules of a firewall: the machine is left as it was, and no container has a network anyway.
    command = [
        "dockerd", "--host", f"unix://{socket}", "--data-root", str(folder / "data"), "--exec-root",
        str(folder / "exec"), "--pidfile", str(folder / "pid"), "--bridge", "none", "--iptables=false", "--ip-masq=false",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            _load_image(_connected(process, socket, folder / "log"))
            yield socket
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_TIMEOUT_S)


def _connected(process: subprocess.Popen[bytes], socket: Path, log: Path) -> docker.APIClient:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return docker.APIClient(base_url=f"unix://{socket}", version="auto", timeout=120)
        except docker.errors.DockerException:
            time.sleep(0.1)
    raise SystemExit(f"dockerd did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _load_image(client: docker.APIClient) -> None:
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
        print(f"no Docker engine can be started here: {', '.join(missing) or 'this user is not root'}")
        return CANNOT
    with engine(CACHE / "docker") as socket:
        variables = {"HOLDFAST_TEST_DOCKER": "required", "HOLDFAST_TEST_DOCKER_SOCKET": str(socket)}
        return subprocess.run(command, env={**os.environ, **variables}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
