"""Runs child processes: starts them when what they need is ready, restarts those that die, stops them in order.

Each child is the leader of a process group of its own, dies with this process, and gets exactly the environment it is
given. A group is killed only while its leader has not been reaped, so a number that was reused is never hit.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from holdfast.cli.embedded import log_tail

BACKOFF_FIRST: Final = 0.1
BACKOFF_MOST: Final = 5.0
"""Seconds before a restart: doubled with each death, from the first to the most."""

STABLE_AFTER: Final = 10.0
"""Seconds of life after which a death counts as the first again."""

DYING_AGAIN: Final = 3
"""Deaths in a row that end a start, and after which a running stack shows the end of the log."""

PROBE_EVERY: Final = 0.02
REFUSED: Final = 2
"""Exit code of a process that will not start with these settings; restarting it would not help."""

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)
"""Loaded before any fork: the child may only call what is already there."""


class Readiness(msgspec.Struct, frozen=True):
    """What a probe found. `cause` says why the program does not become ready until somebody acts; empty: it may.
    `notes` are what the program wants a person to know, by topic."""

    ok: bool
    cause: str = ""
    notes: Mapping[str, str] = {}


Probe = Callable[[], Awaitable[Readiness]]


class NotReady(Exception):
    """A program did not become ready, or can go on no more. `cause` is for a person; `log` is where more stands."""

    def __init__(self, name: str, cause: str, log: Path) -> None:
        super().__init__(f"{name}: {cause}")
        self.name = name
        self.cause = cause
        self.log = log


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `needs` are names of programs or milestones that must be ready first."""

    name: str
    argv: list[str]
    env: dict[str, str]
    log: Path
    probe: Probe
    needs: tuple[str, ...] = ()
    once: Mapping[str, str] = {}
    """Environment of the first start only."""
    grace: float = 7.0
    """Seconds between SIGTERM and SIGKILL."""


def die_with_parent(parent: int) -> Callable[[], None]:
    """To be called in the child: SIGKILL when the parent's thread ends, also if it has already ended."""

    def arm() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return arm


class Child:
    """One run of a program. `ended` is set when it has been reaped."""

    def __init__(self, program: Program, extra: Mapping[str, str]) -> None:
        loop = asyncio.get_running_loop()
        with program.log.open("ab") as log:
            self.log_offset = log.tell()
            self._process = subprocess.Popen(  # noqa: S603  argv is ours, no shell
                program.argv,
                env={**program.env, **extra},
                cwd=program.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509  this process has one thread
            )
        self.pid = self._process.pid
        self.started = time.monotonic()
        self.ended = asyncio.Event()
        self._pidfd = os.pidfd_open(self.pid)
        loop.add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._kill_group()  # whatever it left behind; it is a zombie still, so the number is its own
        self._process.wait()
        self.ended.set()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    @property
    def outcome(self) -> str:
        code = self._process.returncode
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it: then its log does not say why."""
        return self._process.returncode < 0

    @property
    def refused(self) -> bool:
        return self._process.returncode == REFUSED

    def terminate(self) -> None:
        """SIGTERM, unless it has been reaped."""
        if not self.ended.is_set():
            self._process.terminate()
            # A frozen process takes its SIGTERM only once it runs again.
            self._process.send_signal(signal.SIGCONT)

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """SIGTERM, and SIGKILL to the group after `grace` seconds or on `hurry`. Returns when it has been reaped."""
        self.terminate()
        waits = [asyncio.create_task(event.wait()) for event in (self.ended, hurry)]
        try:
            await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if not self.ended.is_set():
            self._kill_group()
            await self.ended.wait()


class Supervisor:
    """All programs of one stack. `say` gets one line for each thing a person should know; `changed` is called when a
    program has become ready or has died."""

    def __init__(self, programs: Iterable[Program], *, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._programs = {program.name: program for program in programs}
        self._say = say
        self._changed = changed
        self._ready: dict[str, asyncio.Event] = {name: asyncio.Event() for name in self._programs}
        self._children: dict[str, Child] = {}
        self._up: dict[str, Child] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asked: set[str] = set()
        """Programs that were asked to end by `restart`."""
        self._is_starting = True
        self._hurry = asyncio.Event()
        self._told: dict[str, str] = {}
        """Cause that was told last, of programs that run and are not ready."""
        self.ready_at: dict[str, float] = {}
        """Seconds from the start of each program to its first readiness."""
        self.notes: dict[str, Mapping[str, str]] = {}
        """What each program said with its last readiness, by topic."""
        self.stopping: list[str] = []
        """Programs that were asked to stop and have not ended."""

    @property
    def pids(self) -> dict[str, int]:
        """Process id of every program that is ready now."""
        return {name: child.pid for name, child in self._up.items()}

    def reached(self, milestone: str) -> None:
        """Let what needs `milestone` go on."""
        self._ready.setdefault(milestone, asyncio.Event()).set()

    async def wait_for(self, *names: str) -> None:
        for name in names:
            await self._ready.setdefault(name, asyncio.Event()).wait()

    async def start(self, within: float) -> None:
        """Start everything and return when all are ready.

        Raises NotReady as soon as it is known that a program does not become ready: it says so itself, it refuses its
        settings, it dies again and again, or `within` seconds are over.
        """
        for name, program in self._programs.items():
            self._tasks[name] = asyncio.create_task(self._keep(program), name=f"keep-{name}")
        waiting = asyncio.create_task(self.wait_for(*self._programs), name="all-ready")
        try:
            await asyncio.wait({waiting, *self._tasks.values()}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks.values():
                if task.done():
                    task.result()
            if not waiting.done():
                raise self._too_late(within)
            self._is_starting = False
        finally:
            waiting.cancel()

    def _too_late(self, within: float) -> NotReady:
        late = [name for name in self._programs if not self._ready[name].is_set()]
        others = f" (and {', '.join(late[1:])})" if late[1:] else ""
        log = self._programs[late[0]].log
        said = log_tail.cause(late[0], log)
        return NotReady(late[0], f"not ready after {within:.0f} s{others}{f': {said}' if said else ''}", log)

    def restart(self, name: str) -> None:
        """Ask a program to end, so that it is started again at once. Does nothing while it is not ready."""
        child = self._up.get(name)
        if child is not None:
            self._asked.add(name)
            child.terminate()

    async def failed(self) -> None:
        """Return only when a program will not be restarted any more; raises its NotReady."""
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    @property
    def is_hurried(self) -> bool:
        return self._hurry.is_set()

    def hurry(self) -> None:
        """Let `stop` kill what has not ended, now."""
        self._hurry.set()

    async def stop(self, order: Iterable[Iterable[str]]) -> None:
        """Stop each group of programs after the one before it is gone; then whatever is left."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._up.clear()
        for group in (*order, tuple(self._children)):
            self.stopping = [name for name in group if name in self._children]
            await asyncio.gather(*(self._stop(name) for name in tuple(self.stopping)))

    async def _stop(self, name: str) -> None:
        await self._children.pop(name).stop(self._programs[name].grace, self._hurry)
        self.stopping.remove(name)

    async def _keep(self, program: Program) -> None:
        """Run `program` for ever, with a growing pause after each early death."""
        await self.wait_for(*program.needs)
        once: Mapping[str, str] = program.once
        deaths = 0
        while True:
            began = time.monotonic()
            outcome = await self._run_once(program, once)
            once = {}
            if program.name in self._asked:
                self._asked.discard(program.name)
                deaths = 0
                continue
            deaths = 1 if time.monotonic() - began > STABLE_AFTER else deaths + 1
            if self._is_starting and deaths >= DYING_AGAIN:
                raise NotReady(program.name, f"died {deaths} times in a row: {outcome}", program.log)
            pause = min(BACKOFF_FIRST * 2 ** (deaths - 1), BACKOFF_MOST)
            if not self._is_starting:
                self._say(f"{program.name} died ({outcome}), restarting in {pause:.1f} s")
                if deaths >= DYING_AGAIN:
                    self._say(self._explain(program.name))
            await asyncio.sleep(pause)

    async def _run_once(self, program: Program, once: Mapping[str, str]) -> str:
        """Run `program` until it ends; how it ended, and why if its log says so. Raises NotReady for bad settings."""
        try:
            child = self._children[program.name] = Child(program, once)
        except OSError as exc:
            return f"it could not be started: {exc.strerror}"
        await self._until_ready(program, child)
        await child.ended.wait()
        if self._up.pop(program.name, None):
            self._changed()
        why = log_tail.cause(program.name, program.log, child.log_offset)
        if child.refused:
            raise NotReady(program.name, why or "it refused its settings", program.log)
        return f"{child.outcome}: {why}" if why and not child.was_killed else child.outcome

    async def _until_ready(self, program: Program, child: Child) -> None:
        while not child.ended.is_set():
            found = await program.probe()
            if found.ok:
                self.ready_at.setdefault(program.name, time.monotonic() - child.started)
                self.notes[program.name] = found.notes
                self._told.pop(program.name, None)
                self._up[program.name] = child
                self._ready[program.name].set()
                self._changed()
                return
            if found.cause:
                self._tell(program, found.cause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_EVERY):
                    await child.ended.wait()

    def _tell(self, program: Program, cause: str) -> None:
        """End the start with the cause; say it once when the stack runs already, for it may be mended."""
        if self._is_starting:
            raise NotReady(program.name, cause, program.log)
        if self._told.get(program.name) != cause:
            self._told[program.name] = cause
            self._say(f"{program.name} is not ready: {cause}")

    def _explain(self, name: str) -> str:
        log = self._programs[name].log
        return "\n".join([*(f"  {log_tail.plain(name, line)}" for line in log_tail.last_lines(log)), f"  log: {log}"])
