"""The bubblewrap driver: no daemon, no image, unprivileged; namespaces, a system call filter, control groups."""

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from holdfast.bus.ids import Key, is_token
from holdfast.process.settings import BadSettings
from holdfast.sandbox.drivers import frames, stream
from holdfast.sandbox.drivers.bubblewrap import arguments, delegation, diagnosis, disk, limits, seccomp
from holdfast.sandbox.drivers.bubblewrap.host import Host, find_host
from holdfast.sandbox.settings import SandboxSettings
from holdfast.sandbox.tools import CallTimeouts

log = structlog.get_logger()

START_WITHIN: Final = 15.0
"""Seconds a sandbox has to greet; a machine under heavy load takes a few."""

END_WITHIN: Final = 5.0
"""Seconds the kernel has to end what was killed."""

LOOK_EACH: Final = 0.25
"""Seconds between two looks at the free space of the disk."""

MEASURE_FAILURES: Final = 20
"""Failed measurements of the workspace in a row, a quarter of a second apart, after which the sandbox is ended."""

MEASURE_EACH: Final = 5.0
"""Seconds between two measurements of a workspace; sooner when the disk fills."""


class Bubblewrap:
    """See Driver."""

    name = "bubblewrap"

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._data = Path(settings.data_dir).absolute()
        self._slots = asyncio.Semaphore(settings.creates_at_once)
        self._quota = disk.Quota(settings.disk_bytes, settings.disk_files, settings.disk_reserve_bytes)
        self._living: set[_Process] = set()
        self._hierarchy: limits.Hierarchy | None = None
        self._host: Host | None = None
        self._worker = ""
        self._lock = -1
        self._keeper: subprocess.Popen[bytes] | None = None

    async def open(self, worker: str) -> None:
        """See Driver. The lock file is how a later worker on this host knows that this one is dead."""
        if self._hierarchy is None:  # before the first child, which a control group of our own would not hold
            self._hierarchy = await asyncio.to_thread(delegation.find_hierarchy)
            if self._hierarchy.kind == "weak":
                log.info("no control group can be written", cause=self._hierarchy.cause)
        self._worker = worker
        home = self._home(worker)
        try:
            home.mkdir(parents=True, mode=0o700)
        except (PermissionError, NotADirectoryError, FileExistsError) as exc:
            raise BadSettings(f"HOLDFAST_DATA_DIR: no folder can be made in {self._data} ({exc.strerror})") from None
        self._lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._start_keeper()

    def _home(self, worker: str) -> Path:
        return self._data / "run" / worker

    @property
    def weak_limits(self) -> str:
        """See Driver."""
        return limits.weakness(self._groups, root=os.geteuid() == 0)

    @property
    def _groups(self) -> limits.Hierarchy:
        assert self._hierarchy is not None, "the driver is not open"
        return self._hierarchy

    async def probe(self) -> None:
        """See Driver."""
        self._host = None
        folder = self._home(self._worker) / "probe"
        folder.mkdir(exist_ok=True)
        box = await self._start("probe", folder)
        await box.kill("probed")

    async def create(self, key: Key, generation: str) -> stream.StreamSandbox:
        """See Driver."""
        folder = self._workspace(key)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return await self._start(generation, folder)

    def _workspace(self, key: Key) -> Path:
        if not (is_token(key.tenant) and is_token(key.session)):
            raise ValueError("not a session")
        return self._data / "workspaces" / key.tenant / key.session

    async def _start(self, name: str, folder: Path) -> stream.StreamSandbox:
        async with self._slots:
            host = self._host = self._host or await asyncio.to_thread(
                find_host, self._settings, self._home(self._worker), self._groups
            )
            living = _Process(host, self._worker, name, folder, self._quota)
            try:
                box = await living.start(self._settings, self._forget)
            except (OSError, frames.ProtocolViolation, EOFError, TimeoutError) as exc:
                said = await living.abandon()
                raise diagnosis.explain(diagnosis.look(host.place.bwrap), _seen(said, exc)) from None
            except BaseException:
                await living.abandon()
                raise
        self._living.add(living)
        self._tell(f"add {living.pid}")
        return box

    def _forget(self, living: "_Process") -> None:
        self._living.discard(living)
        self._tell(f"drop {living.pid}")

    def keep_until(self, deadline: float) -> None:
        """See Driver."""
        self._tell(f"until {deadline}")

    def _start_keeper(self) -> None:
        script = str(Path(__file__).with_name("watchdog.py"))
        self._keeper = subprocess.Popen(  # noqa: S603  our own script by our own interpreter
            [sys.executable, "-I", "-S", script], stdin=subprocess.PIPE, env={}, start_new_session=True, bufsize=0
        )

    def _tell(self, line: str) -> None:
        """Say something to the keeper; a dead one is replaced, and knows all that live."""
        keeper = self._keeper
        if keeper is None:
            return
        assert keeper.stdin is not None
        try:
            keeper.stdin.write(f"{line}\n".encode())
        except BrokenPipeError:
            log.warning("the keeper died; another takes its place")
            keeper.wait()
            self._start_keeper()
            for living in self._living:
                self._tell(f"add {living.pid}")

    async def remove_files(self, key: Key) -> None:
        """See Driver."""
        folder = self._workspace(key)
        if not folder.exists():
            return
        for command in (["chmod", "-R", "u+rwX", "--"], ["rm", "-rf", "--one-file-system", "--"]):
            process = await asyncio.create_subprocess_exec(
                *command, str(folder), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            await process.wait()
        if folder.exists():
            log.warning("a workspace could not be removed whole", folder=str(folder))

    async def collect(self) -> list[str]:
        """See Driver."""
        dead: list[str] = []
        for home in (self._data / "run").glob("*"):
            if home.name == self._worker or not _abandoned(home / "lock"):
                continue
            deadline = time.monotonic() + END_WITHIN
            while not limits.clear(self._groups, home.name) and time.monotonic() < deadline:  # noqa: ASYNC110  the kernel
                await asyncio.sleep(0.01)
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
            dead.append(home.name)
        return dead

    async def close(self) -> None:
        """See Driver."""
        await asyncio.gather(*[living.box.kill("the worker stopped") for living in tuple(self._living) if living.box])
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            await asyncio.to_thread(self._keeper.wait)
            self._keeper = None
        if self._host:
            limits.clear(self._host.hierarchy, self._worker)
            self._host = None  # what was prepared lies in the folder of this worker
        if self._lock >= 0:
            await asyncio.to_thread(shutil.rmtree, self._home(self._worker), ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


class _Process:
    """One sandbox from the outside: its processes, its control group, its disk."""

    def __init__(self, host: Host, worker: str, name: str, folder: Path, quota: disk.Quota) -> None:
        self.pid = 0
        self.box: stream.StreamSandbox | None = None
        self._host = host
        self._group = limits.Group(host.hierarchy, worker, name)
        self._folder = folder
        self._quota = quota
        self._process: asyncio.subprocess.Process | None = None
        self._pidfd = -1
        self._said = b""
        self._tasks: list[asyncio.Task[None]] = []
        self._gone: Callable[[_Process], None] = lambda _: None

    async def start(self, settings: SandboxSettings, gone: Callable[["_Process"], None]) -> stream.StreamSandbox:
        """Make it and wait for its greeting. Raises OSError, EOFError, TimeoutError, Breach; then `abandon` is due."""
        self._group.make(limits.Limits(settings.memory_bytes, settings.pids, settings.cpus))
        weak = self._host.hierarchy.kind == "weak"
        pids = settings.pids
        if weak and not limits.counts_alone(os.uname().release):
            pids += await asyncio.to_thread(limits.threads_of_user)
        shape = arguments.SandboxSpec(
            workspace=self._folder, tmp_bytes=settings.tmp_bytes, file_bytes=settings.disk_bytes,
            memory_bytes=settings.memory_bytes, pids=pids, weak=weak, groups=self._group.entries,
        )  # fmt: skip
        policy = os.memfd_create("seccomp")
        told, tell = os.pipe()
        try:
            os.write(policy, seccomp.compiled())
            os.lseek(policy, 0, os.SEEK_SET)
            # An empty environment: what bubblewrap itself was started with can be read inside, as /proc/1/environ.
            self._process = await asyncio.create_subprocess_exec(
                *arguments.command(self._host.place, shape, policy, tell), pass_fds=(policy, tell), env={},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                limit=1 << 20,
            )  # fmt: skip
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(policy)
            os.close(tell)
        reader, writer, errors = self._process.stdout, self._process.stdin, self._process.stderr
        assert reader is not None
        assert writer is not None
        assert errors is not None
        self._tasks.append(asyncio.create_task(self._drain(errors)))
        async with asyncio.timeout(START_WITHIN):
            self.pid = await asyncio.to_thread(_first_process, told)
            self._pidfd = os.pidfd_open(self.pid)
            await stream.greeted(reader)
        self._gone = gone
        allowance = CallTimeouts(settings.call_timeout, settings.call_timeout_max)
        self.box = stream.StreamSandbox(reader, writer, self._kill, allowance)
        self._tasks.append(asyncio.create_task(self._watch_disk(self.box)))
        return self.box

    async def abandon(self) -> str:
        """End what did not come up and return what it said."""
        if self._process is not None:
            # Its own end brings the end of its messages.
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            await asyncio.wait(self._tasks, timeout=END_WITHIN)
        await self._kill()
        return self._said.decode(errors="replace")

    async def _kill(self) -> str:
        """Kill everything, wait until it is gone, and say what is known of the cause."""
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                log.debug("the sandbox had ended before")
            # When the first process of a namespace has ended, the kernel has ended all others in it.
            await _readable(self._pidfd, END_WITHIN)
            os.close(self._pidfd)
            self._pidfd = -1
        if process is not None:
            await process.wait()
        starved = self._group.out_of_memory()
        deadline = asyncio.get_running_loop().time() + END_WITHIN
        self._group.kill()
        while not self._group.remove() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.002)
            self._group.kill()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._gone(self)
        return self._cause(starved)

    def _cause(self, starved: int) -> str:
        if self.box is None or not self.box.ended_by_itself:
            return ""
        return "it ran out of memory" if starved else "it was ended from inside"

    async def _drain(self, errors: asyncio.StreamReader) -> None:
        """Keep the first words of bubblewrap; whatever follows is read and forgotten, so that nothing piles up."""
        while data := await errors.read(4096):
            self._said = (self._said + data)[:4096]

    async def _watch_disk(self, box: stream.StreamSandbox) -> None:
        loop = asyncio.get_running_loop()
        quota = self._quota.with_room(await asyncio.to_thread(disk.measure, self._folder, _UNLIMITED))
        left = disk.free(self._folder)
        due = loop.time() + MEASURE_EACH
        failures = 0
        while True:
            await asyncio.sleep(LOOK_EACH)
            now_left = disk.free(self._folder)
            filling = left - now_left > quota.size // 8
            if loop.time() < due and not filling and now_left >= quota.reserve:
                continue
            began = loop.time()
            try:
                use = await asyncio.to_thread(disk.measure, self._folder, quota)
            except OSError as exc:  # what cannot be measured cannot be limited
                log.warning("the workspace cannot be measured", cause=str(exc))
                failures += 1
                if failures == MEASURE_FAILURES:
                    await box.kill("its disk use cannot be measured")
                    return
                continue
            failures, left = 0, now_left
            # Measuring takes at most a twentieth of one processor, however many files there are.
            due = loop.time() + max(MEASURE_EACH, 20 * (loop.time() - began))
            breach = quota.breach(use, disk.free(self._folder))
            if breach:
                await box.kill(breach)
                return


def _seen(said: str, exc: Exception) -> str:
    """What was seen of a failed start: the words of bubblewrap before those of the error."""
    if said:
        return f"bubblewrap said: {said}"
    if isinstance(exc, TimeoutError):
        return f"bubblewrap did not start within {START_WITHIN:g} s"
    return f"bubblewrap did not start: {exc}" if str(exc) else "bubblewrap ended without a word"


_UNLIMITED: Final = disk.Quota(1 << 60, 1 << 60, 0)


class _Info(msgspec.Struct):
    pid: int = msgspec.field(name="child-pid")


def _first_process(told: int) -> int:
    """The process id that bubblewrap tells. Raises EOFError when it ends without."""
    with os.fdopen(told, "rb") as file:
        data = file.read(4096)
    if not data.strip():
        raise EOFError
    return msgspec.json.decode(data, type=_Info).pid


async def _readable(fd: int, within: float) -> None:
    """Return when `fd` can be read, or after `within` seconds."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, lambda: ready.done() or ready.set_result(None))
    try:
        await asyncio.wait([ready], timeout=within)
    finally:
        loop.remove_reader(fd)


def _abandoned(lock: Path) -> bool:
    """Whether nobody holds the lock any more: the kernel lets it go with the process."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
