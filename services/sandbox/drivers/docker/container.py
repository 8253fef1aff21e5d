"""One sandbox in a container, seen from the host: its stream, its first process, its control group, its end.

The first process is ended by a signal from here and not by the engine: that takes a millisecond, and works while the
engine hangs or is stopped. So it must be a process of this machine that this service may signal.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final

import structlog

from holdfast.sandbox.drivers import stream
from holdfast.sandbox.drivers.bubblewrap import cpu_watch, fork_watch, hierarchy
from holdfast.sandbox.drivers.bubblewrap.control_group import ControlGroup
from holdfast.sandbox.drivers.bubblewrap.disk import Quota
from holdfast.sandbox.drivers.bubblewrap.disk_watch import DiskWatch
from holdfast.sandbox.drivers.descriptors import readable
from holdfast.sandbox.drivers.docker.attach import StdoutReader, attach
from holdfast.sandbox.drivers.docker.engine import Engine, EngineAway, EngineError
from holdfast.sandbox.proxies.egress_proxy import EgressRoute
from holdfast.sandbox.settings import SandboxSettings
from holdfast.sandbox.tools import CallTimeouts

log = structlog.get_logger()

START_TIMEOUT_S: Final = 40.0
"""Seconds from the request to the agent's greeting. Alone it takes 0.3, beside many others two."""

END_TIMEOUT_S: Final = 5.0
"""Seconds to wait until the killed first process is gone."""

STATE_TIMEOUT_S: Final = 2.0
"""Seconds in which the engine may tell why a container has ended by itself."""

STOPPED: Final = "it ended, or the Docker engine was stopped"
"""Reason of an end about which the engine does not answer."""


class OutOfReach(Exception):
    """This process cannot end the container's first process. The text is half a sentence."""


class SandboxContainer:
    """`sandbox` is set, and `pid` (the first process, as this machine numbers it) valid, after `start`."""

    def __init__(self, engine: Engine, name: str, config: dict[str, Any], egress: EgressRoute | None = None) -> None:
        """`config`: see `config.container`. `egress` is closed with the sandbox; None: no network."""
        self.name = name
        self.pid = 0
        self.sandbox: stream.StreamSandbox | None = None
        self._engine = engine
        self._config = config
        self._egress = egress
        self._made: asyncio.Task[str] | None = None
        self._reader: StdoutReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._pidfd = -1
        self._group = ControlGroup(hierarchy.Hierarchy("weak", {}))
        self._tasks: list[asyncio.Task[None]] = []
        self._on_exit: Callable[[SandboxContainer], None] = lambda _: None

    async def start(
        self,
        settings: SandboxSettings,
        on_start: Callable[["SandboxContainer"], None],
        on_exit: Callable[["SandboxContainer"], None],
    ) -> stream.StreamSandbox:
        """Make and start the container and wait for the agent's greeting.

        `on_start` is called when the first process is known, `on_exit` when the sandbox has ended, also after a failed
        start. Raises EngineAway, EngineError, OutOfReach, OSError, EOFError, TimeoutError and ProtocolViolation; the
        caller must then call `abandon`.
        """
        self._on_exit = on_exit
        async with asyncio.timeout(START_TIMEOUT_S):
            # A request that is on its way in a thread cannot be taken back: `abandon` waits for its end.
            self._made = asyncio.create_task(self._engine.create(self.name, self._config))
            container = await asyncio.shield(self._made)
            self._reader, self._writer = await attach(self._engine.socket, container)
            await self._engine.start(container)
            self.pid = (await self._engine.state(container)).pid
            if self.pid:
                self._pidfd = _open_first(self.pid, container)
                on_start(self)
            await stream.greeted(self._reader)  # the end of the stream, if the container has ended already
            if not self.pid:
                raise OutOfReach("the engine knows no process of the container")
        self._group = ControlGroup(hierarchy.of_process(self.pid))
        timeouts = CallTimeouts(settings.call_timeout, settings.call_timeout_max)
        self.sandbox = stream.StreamSandbox(self._reader, self._writer, self._kill, timeouts)
        return self.sandbox

    def watch(self, settings: SandboxSettings, workspace: Path, quota: Quota, threads: Executor) -> None:
        """Hold the limits that the kernel does not hold. `threads` measure workspaces."""
        assert self.sandbox is not None, "not started"
        disk = DiskWatch(self.sandbox, workspace, quota, threads, self._group.members)
        forks = fork_watch.watch(self._group, settings.pids, self.sandbox.end_processes, self.sandbox.kill)
        self._tasks = [asyncio.create_task(one) for one in (disk.run(), cpu_watch.watch(self._group), forks)]

    @property
    def stderr(self) -> str:
        """The beginning of the error output of the start."""
        return self._reader.stderr.decode(errors="replace").strip() if self._reader else ""

    async def abandon(self) -> None:
        """End a sandbox whose start failed. The container is not removed."""
        if self._writer is not None:
            self._writer.close()
        await self._kill()

    async def remove(self) -> None:
        """Remove the container. Raises EngineAway, EngineError."""
        if self._made is not None:
            await asyncio.wait([self._made])
        await self._engine.remove(self.name)

    async def _kill(self) -> str:
        """End all processes and wait until they are gone. Returns the cause of an end by itself if it is known."""
        try:
            oom_kills = self._group.oom_kills()
            await self._kill_first()
        finally:
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
            if self._egress is not None:
                await self._egress.close()
        if self.sandbox is None or not self.sandbox.ended_by_itself:
            cause = ""
        else:
            cause = "it ran out of memory" if oom_kills else await self._cause()
        self._on_exit(self)
        return cause

    async def _kill_first(self) -> None:
        """Kill the first process. When it has ended, the kernel has ended all others in its process namespace."""
        if self._pidfd < 0:
            return
        pidfd, self._pidfd = self._pidfd, -1
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            await readable(pidfd, END_TIMEOUT_S)
        finally:
            os.close(pidfd)

    async def _cause(self) -> str:
        """Why the container has ended by itself."""
        try:
            async with asyncio.timeout(STATE_TIMEOUT_S):
                state = await self._engine.state(self.name)
        except (EngineAway, EngineError, TimeoutError):
            return STOPPED
        return "it ran out of memory" if state.oom_killed else "it was ended from inside"


def _open_first(pid: int, container: str) -> int:
    """A pidfd of the first process of the container. Raises OutOfReach.

    The engine may be in another process namespace, as in the virtual machine of Docker Desktop: then the number belongs
    to nobody here, or to another process.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as exc:
        raise OutOfReach(f"its process {pid} is not on this machine ({exc.strerror})") from None
    cause = ""
    try:
        if container not in Path(f"/proc/{pid}/cgroup").read_text():
            cause = f"process {pid} of this machine is not of the container"
        signal.pidfd_send_signal(pidfd, 0)
    except PermissionError:
        cause = f"this user may not end its process {pid}"
    except OSError as exc:
        cause = f"its process {pid} has ended ({exc.strerror})"
    if cause:
        os.close(pidfd)
        raise OutOfReach(cause)
    return pidfd
