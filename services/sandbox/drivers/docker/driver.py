"""The driver for Docker: a container for each sandbox, of an image, by an engine on the same machine."""

import asyncio
import itertools
import os
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import structlog

from holdfast.bus.ids import Key
from holdfast.process.settings import BadSettings
from holdfast.sandbox.drivers import frames, stream
from holdfast.sandbox.drivers.bubblewrap import disk
from holdfast.sandbox.drivers.bubblewrap.watchdog_process import WatchdogProcess
from holdfast.sandbox.drivers.docker import config, diagnosis, door, reach
from holdfast.sandbox.drivers.docker.container import START_TIMEOUT_S, OutOfReach, SandboxContainer
from holdfast.sandbox.drivers.docker.engine import Engine, EngineAway, EngineError
from holdfast.sandbox.drivers.docker.host import find_layout
from holdfast.sandbox.drivers.driver import SandboxUnavailable
from holdfast.sandbox.drivers.hand_spec import HandSpec, require_plain
from holdfast.sandbox.drivers.host_id import host_id
from holdfast.sandbox.drivers.sandbox import SandboxLost
from holdfast.sandbox.drivers.way_out import make_proxy, way_out
from holdfast.sandbox.drivers.worker_homes import WorkerHomes, as_unavailable
from holdfast.sandbox.drivers.workspaces import Workspaces, own
from holdfast.sandbox.proxies.egress_proxy import EgressRoute
from holdfast.sandbox.settings import SandboxSettings
from holdfast.sandbox.threads import in_daemon_thread

log = structlog.get_logger()

MEASURE_THREADS: Final = 2
"""Workspaces that are measured at the same time."""

REMOVE_TIMEOUT_S: Final = 10.0
"""Seconds that the end of a worker waits until its containers are removed. What is left another worker collects."""

COMPILE: Final = f"python3 -I -S -m compileall -q --invalidation-mode unchecked-hash {config.AGENT}"
"""Compiles the agent with the image's Python, for the sandboxes that are made later. The folder is read-only in these,
and the code of a model runs in these only."""


class Docker:
    """See Driver."""

    name = "docker"
    kept = "All processes of the sandbox, the state of its shell and /tmp are gone; the files of /workspace are kept."
    elsewhere = (
        "The files of /workspace are on another sandbox host, and no worker of that host answers. They are kept, and "
        "tools work again when the host is back."
    )

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._data = Path(settings.data_dir).absolute()
        root = os.geteuid() == 0
        self._uid, self._gid = (config.USER, config.USER) if root else (os.geteuid(), os.getegid())
        self._homes = WorkerHomes(self._data / "docker")
        self._workspaces = Workspaces(self._data, self._uid, self._gid)
        self._engine = Engine(
            settings.docker_socket, threads=2 * settings.creates_at_once, timeout_s=settings.docker_timeout
        )
        self._slots = asyncio.Semaphore(settings.creates_at_once)
        self._quota = disk.Quota(
            settings.disk_bytes, settings.disk_files, settings.disk_reserve_bytes, settings.disk_reserve_files
        )
        self._measuring = ThreadPoolExecutor(MEASURE_THREADS, "disk-use")
        self._processes: set[SandboxContainer] = set()
        """The containers whose first process is known and has not ended."""
        self._removals: set[asyncio.Task[None]] = set()
        self._names: set[str] = set()
        """The containers that are being made or run. Any other one with the label of this worker is to be removed: it
        could not be before, or the engine has made it long after its request was given up."""
        self._proxy = make_proxy(settings)
        self._turn = itertools.count()
        self._layout: config.Layout | None = None
        self._is_compiled = False
        self._worker = ""
        self.host = ""
        """See Driver."""
        self.weak_limits = ""
        """See Driver."""
        self._watchdog = WatchdogProcess(lambda: [container.pid for container in self._processes])

    async def open(self, worker: str) -> None:
        """See Driver. While the lock file is locked, other workers on this host know that this worker is alive."""
        await self._require_runtime()
        self._worker = worker
        self._homes.claim(worker)
        self.host = await asyncio.to_thread(host_id, self._data)
        self._is_compiled = False
        self._watchdog.start()

    async def _require_runtime(self) -> None:
        """Raise BadSettings if the engine answers and does not have the runtime of the settings."""
        try:
            facts, _ = await self._engine.facts()
        except (EngineAway, EngineError):
            return  # the probe says so, and again whether it has the runtime when it is back
        if self._settings.docker_runtime not in (facts.runtimes or {}):
            raise BadSettings(str(diagnosis.no_runtime(facts, self._settings.docker_runtime)))

    # --- making sandboxes ------------------------------------------------------------------------------------------

    async def probe(self) -> None:
        """See Driver. The first one compiles the agent."""
        self._layout = None
        folder = self._homes.of(self._worker) / "probe"
        with as_unavailable("the folder of this worker cannot be written"):
            folder.mkdir(exist_ok=True)
            await own(folder, self._uid, self._gid)
        async with way_out(self._proxy, reach.probe_spec(self._settings), self._homes.of(self._worker)) as egress:
            sandbox = await self._start("probe", folder, prepares=not self._is_compiled, egress=egress)
        try:
            if not self._is_compiled:
                await sandbox.run("compile", "bash", {"command": COMPILE})  # an agent that is not compiled runs too
                self._is_compiled = True
            if egress:
                await reach.require(sandbox, self._settings.docker_runtime)
        except SandboxLost as exc:
            raise diagnosis.failed(f"the first one was lost: {exc.reason}") from None
        finally:
            await sandbox.kill("probed")

    async def create(self, spec: HandSpec) -> stream.StreamSandbox:
        """See Driver."""
        require_plain(spec, by=self.name, egress=True)
        workspace = await self._workspaces.prepare(spec.key)
        async with way_out(self._proxy, spec, self._homes.of(self._worker)) as egress:
            return await self._start(spec.generation, workspace, egress=egress)

    async def _start(
        self, name: str, workspace: Path, *, prepares: bool = False, egress: EgressRoute | None = None
    ) -> stream.StreamSandbox:
        """Start a sandbox on the folder `workspace`. `prepares`: it may write the agent. Raises SandboxUnavailable."""
        async with self._slots:
            layout = await self._ready()
            container = self._container(layout, name, workspace, prepares=prepares, egress=egress)
            sandbox = await self._started(container)
        container.watch(self._settings, workspace, self._quota, self._measuring)
        return sandbox

    async def _ready(self) -> config.Layout:
        """The layout, with everything checked and written on which it rests. Raises SandboxUnavailable."""
        if self._layout is None:
            home = self._homes.of(self._worker)
            try:
                self.weak_limits, self._layout = await find_layout(
                    self._engine, self._settings, home, self._uid, self._gid
                )
            except EngineAway as exc:
                raise await self._away(exc) from None
            except EngineError as exc:
                raise diagnosis.failed(f"Docker said: {exc}") from None
        return self._layout

    def _container(
        self,
        layout: config.Layout,
        name: str,
        workspace: Path,
        *,
        prepares: bool = False,
        egress: EgressRoute | None = None,
    ) -> SandboxContainer:
        number, settings = next(self._turn), self._settings
        spec = config.Spec(
            workspace=workspace,
            labels={config.LABEL: self._worker, config.HOST_LABEL: self.host, config.GENERATION_LABEL: name},
            memory_bytes=settings.memory_bytes,
            pids=settings.pids,
            cpus=settings.cpus,
            tmp_bytes=settings.tmp_bytes,
            file_bytes=settings.disk_bytes,
            turn=number,
            prepares=prepares,
            egress=egress.folder if egress else None,
        )
        full_name = f"holdfast-{self._worker}-{name}-{number}"
        self._names.add(full_name)
        return SandboxContainer(self._engine, full_name, config.container(layout, spec), egress)

    async def _started(self, container: SandboxContainer) -> stream.StreamSandbox:
        """Start it. Raises SandboxUnavailable."""
        try:
            return await container.start(self._settings, self._on_start, self._on_exit)
        except (EngineAway, EngineError, OutOfReach, OSError, EOFError, TimeoutError, frames.ProtocolViolation) as exc:
            await container.abandon()
            raise await self._explained(container, exc) from None
        except BaseException:
            await container.abandon()
            raise

    async def _explained(self, container: SandboxContainer, exc: Exception) -> SandboxUnavailable:
        """The error for a failed start."""
        self._layout = None  # the engine may be another one by now, or have lost its image
        if isinstance(exc, OutOfReach):
            return diagnosis.foreign(str(exc))
        if isinstance(exc, EngineAway):
            return await self._away(exc)
        if container.stderr:
            return diagnosis.failed(f"the container said: {container.stderr}")
        if isinstance(exc, TimeoutError):
            return diagnosis.failed(f"it did not start within {START_TIMEOUT_S:g} s")
        return diagnosis.failed(f"Docker said: {exc}" if str(exc) else f"it ended at once ({type(exc).__name__})")

    async def _away(self, exc: EngineAway) -> SandboxUnavailable:
        return diagnosis.away(await in_daemon_thread(door.look, self._settings.docker_socket), str(exc))

    def _on_start(self, container: SandboxContainer) -> None:
        self._processes.add(container)
        self._watchdog.add(container.pid)

    def _on_exit(self, container: SandboxContainer) -> None:
        """All processes of the container have ended: remove it, in the background."""
        if container in self._processes:
            self._processes.discard(container)
            self._watchdog.drop(container.pid)
        self._names.discard(container.name)
        self._in_background(self._remove(container))

    def _in_background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)

    async def _remove(self, container: SandboxContainer) -> None:
        try:
            await container.remove()
        except (EngineAway, EngineError) as exc:
            log.warning("a container could not be removed yet", container=container.name, cause=str(exc))

    def keep_until(self, deadline: float) -> None:
        """See Driver."""
        self._watchdog.keep_until(deadline)

    # --- files -----------------------------------------------------------------------------------------------------

    async def sessions(self) -> list[Key]:
        """See Driver."""
        return await in_daemon_thread(self._workspaces.stored)

    async def remove_files(self, key: Key) -> None:
        """See Driver."""
        await self._workspaces.remove(key)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def collect(self) -> list[str]:
        """See Driver. Containers are removed if the lock of their worker says that it has ended.

        While the engine does not answer nobody is reported: containers of a dead worker might still run.
        """
        dead = self._homes.dead(self._worker)
        try:
            await self._remove_all(f"{config.HOST_LABEL}={self.host}")
        except (EngineAway, EngineError) as exc:
            log.warning("containers of dead workers cannot be looked for", cause=str(exc))
            return []
        for worker in dead:
            await asyncio.to_thread(self._homes.remove, worker)
        return dead

    async def _remove_all(self, label: str) -> None:
        """Remove the containers with this label that nobody needs any more. Raises EngineAway and EngineError.

        Those of a worker without a folder too: it has removed the folder at its end, or another one after its death.
        """
        for container in await self._engine.containers([label]):
            worker = container.labels.get(config.LABEL, "")
            is_needed = container.name in self._names if worker == self._worker else not self._homes.is_dead(worker)
            if worker and not is_needed:
                log.info("a container that was left is removed", container=container.name, worker=worker)
                await self._engine.remove(container.id)

    async def close(self) -> None:
        """See Driver."""
        running = [container.sandbox for container in self._processes]
        await asyncio.gather(*[sandbox.kill("the worker stopped") for sandbox in running if sandbox])
        await self._watchdog.stop()
        if self._removals:
            await asyncio.wait(self._removals, timeout=REMOVE_TIMEOUT_S)
        try:
            async with asyncio.timeout(REMOVE_TIMEOUT_S):
                await self._remove_all(f"{config.LABEL}={self._worker}")
        except (EngineAway, EngineError, TimeoutError) as exc:
            log.warning("containers may be left to another worker of this host", cause=str(exc))
        self._engine.close()
        self._layout = None
        await asyncio.to_thread(self._homes.release, self._worker)
