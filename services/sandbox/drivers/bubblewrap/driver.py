"""The bubblewrap driver: unprivileged, without daemon or image; namespaces, system call filter, control groups."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import structlog

from holdfast.bus.ids import Key
from holdfast.sandbox.drivers import frames, stream
from holdfast.sandbox.drivers.bubblewrap import control_group, delegation, diagnosis, disk, hierarchy, limits
from holdfast.sandbox.drivers.bubblewrap.host import Host, find_host
from holdfast.sandbox.drivers.bubblewrap.process import END_TIMEOUT_S, START_TIMEOUT_S, SandboxProcess
from holdfast.sandbox.drivers.bubblewrap.watchdog_process import WatchdogProcess
from holdfast.sandbox.drivers.hand_spec import HandSpec, require_plain
from holdfast.sandbox.drivers.host_id import host_id
from holdfast.sandbox.drivers.way_out import make_proxy, way_out
from holdfast.sandbox.drivers.worker_homes import WorkerHomes, as_unavailable
from holdfast.sandbox.drivers.workspaces import Workspaces
from holdfast.sandbox.proxies.egress_proxy import EgressRoute
from holdfast.sandbox.settings import SandboxSettings
from holdfast.sandbox.threads import in_daemon_thread

log = structlog.get_logger()

MEASURE_THREADS: Final = 2
"""Workspaces that are measured at the same time."""

REMOVE_POLL_S: Final = 0.01
"""Seconds between two attempts to remove the control groups of a dead worker."""


class Bubblewrap:
    """See Driver."""

    name = "bubblewrap"
    kept = "All processes of the sandbox, the state of its shell and /tmp are gone; the files of /workspace are kept."
    elsewhere = (
        "The files of /workspace are on another sandbox host, and no worker of that host answers. They are kept, and "
        "tools work again when the host is back."
    )

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._data = Path(settings.data_dir).absolute()
        self._homes = WorkerHomes(self._data / "run")
        # A sandbox of bubblewrap has the user id of the service on the host.
        self._workspaces = Workspaces(self._data, os.geteuid(), os.getegid())
        self._slots = asyncio.Semaphore(settings.creates_at_once)
        self._quota = disk.Quota(
            settings.disk_bytes, settings.disk_files, settings.disk_reserve_bytes, settings.disk_reserve_files
        )
        # Threads of its own: measuring large workspaces must not keep anything else waiting, and the other way round.
        self._measuring = ThreadPoolExecutor(MEASURE_THREADS, "disk-use")
        self._proxy = make_proxy(settings)
        self._processes: set[SandboxProcess] = set()
        self._found_hierarchy: hierarchy.Hierarchy | None = None
        self._host: Host | None = None
        self._worker = ""
        self.host = ""
        """See Driver."""
        self._watchdog = WatchdogProcess(lambda: [pid for process in self._processes for pid in process.pids])

    async def open(self, worker: str) -> None:
        """See Driver. While the lock file is locked, other workers on this host know that this worker is alive."""
        # Before the first child process: delegation moves this process alone into a control group.
        if self._found_hierarchy is None:
            self._found_hierarchy = await asyncio.to_thread(delegation.find_hierarchy)
            if self._found_hierarchy.kind == "weak":
                log.info("no control group can be written", cause=self._found_hierarchy.cause)
        self._worker = worker
        self._homes.claim(worker)
        self.host = await asyncio.to_thread(host_id, self._data)
        self._watchdog.start()

    @property
    def weak_limits(self) -> str:
        """See Driver."""
        return limits.weakness(self._hierarchy, root=os.geteuid() == 0)

    @property
    def _hierarchy(self) -> hierarchy.Hierarchy:
        assert self._found_hierarchy is not None, "the driver is not open"
        return self._found_hierarchy

    async def probe(self) -> None:
        """See Driver."""
        self._host = None
        folder = self._homes.of(self._worker) / "probe"
        with as_unavailable("the folder of this worker cannot be written"):
            folder.mkdir(exist_ok=True)
        sandbox = await self._start("probe", folder)
        await sandbox.kill("probed")

    async def create(self, spec: HandSpec) -> stream.StreamSandbox:
        """See Driver."""
        require_plain(spec, by=self.name, egress=True)
        folder = await self._workspaces.prepare(spec.key)
        async with way_out(self._proxy, spec, self._homes.of(self._worker)) as egress:
            return await self._start(spec.generation, folder, egress)

    async def _start(self, name: str, folder: Path, egress: EgressRoute | None = None) -> stream.StreamSandbox:
        """Start a sandbox on the workspace `folder`, in a control group called `name`. Raises SandboxUnavailable."""
        async with self._slots:
            if self._host is None:
                with as_unavailable("the files of which sandboxes are made cannot be written"):
                    self._host = await in_daemon_thread(
                        find_host, self._settings, self._homes.of(self._worker), self._hierarchy
                    )
            host = self._host
            process = SandboxProcess(
                host, self._worker, name, folder, self._quota, threads=self._measuring, egress=egress
            )
            try:
                sandbox = await process.start(self._settings, self._on_start, self._on_exit)
            except (OSError, frames.ProtocolViolation, EOFError, TimeoutError) as exc:
                stderr = await process.abandon()
                raise diagnosis.explain(diagnosis.look(host.layout.bwrap), _symptom(stderr, exc)) from None
            except BaseException:
                await process.abandon()
                raise
        self._watchdog.add(process.pid)
        return sandbox

    def _on_start(self, process: SandboxProcess) -> None:
        """bubblewrap runs. It ends with this process only from a later moment on, so the watchdog must know it."""
        self._processes.add(process)
        for pid in process.pids:
            self._watchdog.add(pid)

    def _on_exit(self, process: SandboxProcess) -> None:
        self._processes.discard(process)
        for pid in process.pids:
            self._watchdog.drop(pid)

    def keep_until(self, deadline: float) -> None:
        """See Driver."""
        self._watchdog.keep_until(deadline)

    async def sessions(self) -> list[Key]:
        """See Driver."""
        return await in_daemon_thread(self._workspaces.stored)

    async def remove_files(self, key: Key) -> None:
        """See Driver."""
        await self._workspaces.remove(key)

    async def collect(self) -> list[str]:
        """See Driver."""
        dead: list[str] = []
        for worker in self._homes.dead(self._worker):
            deadline = time.monotonic() + END_TIMEOUT_S
            # Polled: the kernel tells nobody when the last process of a group is gone.
            while not control_group.clear(self._hierarchy, worker) and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(REMOVE_POLL_S)
            await asyncio.to_thread(self._homes.remove, worker)
            dead.append(worker)
        return dead

    async def close(self) -> None:
        """See Driver."""
        running = [process.sandbox for process in self._processes]
        await asyncio.gather(*[sandbox.kill("the worker stopped") for sandbox in running if sandbox])
        await self._watchdog.stop()
        if self._host:
            control_group.clear(self._host.hierarchy, self._worker)
            self._host = None  # its files lie in the folder of this worker, which is removed now
        await asyncio.to_thread(self._homes.release, self._worker)


def _symptom(stderr: str, exc: Exception) -> str:
    """Half a sentence on a failed start: the error output of bubblewrap if there is any, else the exception."""
    if stderr:
        return f"bubblewrap said: {stderr}"
    if isinstance(exc, TimeoutError):
        return f"bubblewrap did not start within {START_TIMEOUT_S:g} s"
    return f"bubblewrap did not start: {exc}" if str(exc) else "bubblewrap ended without a word"
