"""One bubblewrap sandbox seen from the host: its first process, its control group, its error output, its end."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

import msgspec
import structlog

from holdfast.sandbox.drivers import stream
from holdfast.sandbox.drivers.bubblewrap import arguments, cpu_watch, fork_watch, limits, process_tree, seccomp
from holdfast.sandbox.drivers.bubblewrap.control_group import ControlGroup
from holdfast.sandbox.drivers.bubblewrap.disk import Quota
from holdfast.sandbox.drivers.bubblewrap.disk_watch import DiskWatch
from holdfast.sandbox.drivers.bubblewrap.host import Host
from holdfast.sandbox.drivers.descriptors import readable
from holdfast.sandbox.proxies.egress_proxy import EgressRoute
from holdfast.sandbox.settings import SandboxSettings
from holdfast.sandbox.tools import CallTimeouts

log = structlog.get_logger()

START_TIMEOUT_S: Final = 15.0
"""Seconds from the start of bubblewrap to the agent's greeting; a machine under heavy load takes a few."""

END_TIMEOUT_S: Final = 5.0
"""Seconds to wait until killed processes and their control group are gone."""

REMOVE_POLL_S: Final = 0.002
"""Seconds between two attempts to remove the control group."""

STDERR_BYTES: Final = 4096
"""Bytes of the error output of bubblewrap that are kept: its beginning."""

STREAM_BUFFER_BYTES: Final = 1 << 20
"""Size at which reading from the sandbox pauses."""


class SandboxProcess:
    """The host's side of one sandbox. `sandbox` is set, and `pid` (the first process in it) valid, after `start`."""

    def __init__(
        self,
        host: Host,
        worker: str,
        name: str,
        workspace: Path,
        quota: Quota,
        *,
        threads: Executor,
        egress: EgressRoute | None = None,
    ) -> None:
        """`threads` measure workspaces. `egress` is closed with the sandbox; None: no network."""
        self.pid = 0
        self.sandbox: stream.StreamSandbox | None = None
        self._host = host
        self._group = ControlGroup(host.hierarchy, worker, name)
        self._workspace = workspace
        self._quota = quota
        self._threads = threads
        self._egress = egress
        self._bwrap: asyncio.subprocess.Process | None = None
        self._pidfd = -1
        self._stderr = b""
        self._tasks: list[asyncio.Task[None]] = []
        self._on_exit: Callable[[SandboxProcess], None] = lambda _: None

    async def start(
        self,
        settings: SandboxSettings,
        on_start: Callable[["SandboxProcess"], None],
        on_exit: Callable[["SandboxProcess"], None],
    ) -> stream.StreamSandbox:
        """Start the sandbox and wait for the agent's greeting.

        `on_start` is called when bubblewrap runs, `on_exit` when the sandbox has ended, also after a failed start.

        Raises OSError, EOFError, TimeoutError and ProtocolViolation; the caller must then call `abandon`.
        """
        self._on_exit = on_exit
        self._group.make(limits.Limits(settings.memory_bytes, settings.pids, settings.cpus))
        info_fd = await self._start_bwrap(await self._spec(settings))
        on_start(self)
        assert self._bwrap is not None
        reader, writer, errors = self._bwrap.stdout, self._bwrap.stdin, self._bwrap.stderr
        assert reader is not None
        assert writer is not None
        assert errors is not None
        self._tasks.append(asyncio.create_task(self._read_stderr(errors)))
        async with asyncio.timeout(START_TIMEOUT_S):
            self.pid = await _first_process(info_fd)
            self._pidfd = os.pidfd_open(self.pid)
            await stream.greeted(reader)
        timeouts = CallTimeouts(settings.call_timeout, settings.call_timeout_max)
        self.sandbox = stream.StreamSandbox(reader, writer, self._kill, timeouts)
        watch = DiskWatch(self.sandbox, self._workspace, self._quota, self._threads, self._members)
        forks = fork_watch.watch(self._group, settings.pids, self.sandbox.end_processes, self.sandbox.kill)
        watches = (watch.run(), cpu_watch.watch(self._group), forks)
        self._tasks += [asyncio.create_task(one) for one in watches]
        return self.sandbox

    def _members(self) -> list[int]:
        """The ids of all processes of the sandbox. Raises OSError."""
        return self._group.members() or process_tree.descendants(self.pid)

    @property
    def pids(self) -> list[int]:
        """The ids that the watchdog must know: of bubblewrap and of the first process inside, as far as known."""
        outside = self._bwrap.pid if self._bwrap is not None else 0
        return [pid for pid in (outside, self.pid) if pid]

    async def _spec(self, settings: SandboxSettings) -> arguments.SandboxSpec:
        weak = self._host.hierarchy.kind == "weak"
        pids = settings.pids
        if weak and not limits.counts_alone(os.uname().release):
            pids += await asyncio.to_thread(limits.threads_of_user)
        return arguments.SandboxSpec(
            workspace=self._workspace, tmp_bytes=settings.tmp_bytes, file_bytes=settings.disk_bytes,
            memory_bytes=settings.memory_bytes, pids=pids, weak=weak, groups=self._group.entries,
            egress=self._egress.folder if self._egress else None,
        )  # fmt: skip

    async def _start_bwrap(self, spec: arguments.SandboxSpec) -> int:
        """Start bubblewrap. Returns the descriptor on which it writes the id of the first process inside."""
        filter_fd = os.memfd_create("seccomp")
        info_read, info_write = os.pipe()
        try:
            os.write(filter_fd, seccomp.compiled())
            os.lseek(filter_fd, 0, os.SEEK_SET)
            # An empty environment: code inside can read that of bubblewrap itself as /proc/1/environ.
            self._bwrap = await asyncio.create_subprocess_exec(
                *arguments.command(self._host.layout, spec, filter_fd, info_write),
                pass_fds=(filter_fd, info_write), env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, start_new_session=True, limit=STREAM_BUFFER_BYTES,
            )  # fmt: skip
        except BaseException:
            os.close(info_read)
            raise
        finally:
            os.close(filter_fd)
            os.close(info_write)
        return info_read

    async def abandon(self) -> str:
        """Kill a sandbox whose start failed and return the error output of bubblewrap."""
        if self._bwrap is not None:
            self._kill_bwrap()
            await self._ended()
            # Its error output ends with it, so the task that reads it ends too.
            await asyncio.wait(self._tasks, timeout=END_TIMEOUT_S)
        await self._kill()
        return self._stderr.decode(errors="replace")

    async def _kill(self) -> str:
        """Kill all processes, wait until they are gone, remove the control group. Returns the cause if it is known."""
        try:
            await self._kill_first()
            oom_kills = self._group.oom_kills()
            deadline = asyncio.get_running_loop().time() + END_TIMEOUT_S
            self._group.kill()
            while not self._group.remove() and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(REMOVE_POLL_S)
                self._group.kill()
        finally:
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
            if self._egress is not None:
                await self._egress.close()
        self._on_exit(self)
        return self._cause(oom_kills)

    async def _kill_first(self) -> None:
        """Kill bubblewrap and the first process inside, and wait until both are gone, END_TIMEOUT_S each at most."""
        self._kill_bwrap()
        self._group.kill()
        if self._pidfd >= 0:
            pidfd, self._pidfd = self._pidfd, -1
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                log.debug("the sandbox had already ended")
            # When the first process of a process namespace has ended, the kernel has ended all others in it.
            await readable(pidfd, END_TIMEOUT_S)
            os.close(pidfd)
        if self._bwrap is not None:
            await self._ended()

    def _kill_bwrap(self) -> None:
        """Kill bubblewrap with its child, which ends with it only from the end of its preparations on."""
        if self._bwrap is not None and self._bwrap.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._bwrap.pid, signal.SIGKILL)

    async def _ended(self) -> None:
        """Wait until bubblewrap has ended; the kernel may hold a killed process up while a disk does not answer."""
        assert self._bwrap is not None
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await self._bwrap.wait()
        except TimeoutError:
            log.warning("bubblewrap was killed and does not end", pid=self._bwrap.pid)

    def _cause(self, oom_kills: int) -> str:
        """Why the sandbox ended by itself; empty if the service ended it."""
        if self.sandbox is None or not self.sandbox.ended_by_itself:
            return ""
        return "it ran out of memory" if oom_kills else "it was ended from inside"

    async def _read_stderr(self, errors: asyncio.StreamReader) -> None:
        """Keep the beginning of the error output; read and drop the rest, so that bubblewrap never blocks on it."""
        while data := await errors.read(STDERR_BYTES):
            self._stderr = (self._stderr + data)[:STDERR_BYTES]


class _Info(msgspec.Struct):
    """The part of bubblewrap's `--info-fd` message that is used."""

    pid: int = msgspec.field(name="child-pid")


async def _first_process(info_fd: int) -> int:
    """Read the id of the first process inside from bubblewrap. Raises EOFError if bubblewrap ends before."""
    os.set_blocking(info_fd, False)
    data = b""
    try:
        while part := await _read(info_fd):
            data += part
    finally:
        os.close(info_fd)
    if not data.strip():
        raise EOFError
    return msgspec.json.decode(data, type=_Info).pid


async def _read(fd: int) -> bytes:
    """The next bytes of a pipe, which does not block; empty at its end."""
    while True:
        await readable(fd, START_TIMEOUT_S)
        with contextlib.suppress(BlockingIOError):
            return os.read(fd, 4096)
