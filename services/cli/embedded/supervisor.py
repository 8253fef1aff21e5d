"""Runs the programs of a stack: starts all at once, tells each to go on when its needs are ready, restarts it when it
dies, stops all in order.

Each program is a child process with exactly the environment it is given; see `child`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from holdfast.cli.embedded import log_tail
from holdfast.cli.embedded.child import Child
from holdfast.cli.embedded.fork_client import CannotFork, ForkServer
from holdfast.cli.embedded.program import NotReady, Program
from holdfast.process.backoff import Backoff

RESTART_BACKOFF: Final = Backoff(first_s=0.1, longest_s=5.0, jitter=0.0)
"""Pauses before a restart: doubled with each death. There is nobody to be out of step with, so no jitter."""

STABLE_AFTER_S: Final = 10.0
"""A program that ran at least this long before it died is restarted with the first pause again."""

DEATHS_IN_A_ROW: Final = 3
"""This many deaths end a start. In a running stack they make the supervisor show the end of the log."""

PROBE_INTERVAL_S: Final = 0.02


class Supervisor:
    """All programs of one stack. `say` gets lines for a person; `changed` is called when a program has become ready or
    has died."""

    def __init__(self, programs: Iterable[Program], *, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._programs = {program.name: program for program in programs}
        self._say = say
        self._changed = changed
        self._ready: dict[str, asyncio.Event] = {name: asyncio.Event() for name in self._programs}
        self._fork_servers: dict[str, ForkServer] = {}
        self._children: dict[str, Child] = {}
        self._ready_children: dict[str, Child] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._restarting: set[str] = set()
        """Programs that `restart` has asked to end."""
        self._is_starting = True
        self._hurry = asyncio.Event()
        self._told_causes: dict[str, str] = {}
        """The last cause that was said, of each program that runs and is not ready."""
        self.ready_at: dict[str, float] = {}
        """Seconds that each program took to become ready for the first time."""
        self.notes: dict[str, Mapping[str, str]] = {}
        """The notes of each program when it last became ready, by topic."""
        self.stopping: list[str] = []
        """Programs that `stop` has asked to end and that have not ended yet."""

    @property
    def pids(self) -> dict[str, int]:
        """Process id of every program that is ready now."""
        return {name: child.pid for name, child in self._ready_children.items()}

    def reached(self, milestone: str) -> None:
        """Tell the programs that need `milestone` to go on, if nothing else is missing."""
        self._ready.setdefault(milestone, asyncio.Event()).set()

    async def wait_for(self, *names: str) -> None:
        """Wait until these programs have been ready and these milestones reached."""
        for name in names:
            await self._ready.setdefault(name, asyncio.Event()).wait()

    async def start(self, within: float) -> None:
        """Start all programs and return when all are ready.

        Raises NotReady as soon as a program cannot become ready: its probe gives a cause, it refuses its settings, it
        died DEATHS_IN_A_ROW times, or `within` seconds have passed.
        """
        for name, program in self._programs.items():
            self._tasks[name] = asyncio.create_task(self._keep_running(program), name=f"keep-{name}")
        waiting = asyncio.create_task(self.wait_for(*self._programs), name="all-ready")
        try:
            await asyncio.wait({waiting, *self._tasks.values()}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks.values():
                if task.done():
                    task.result()
            if not waiting.done():
                raise self._not_ready_in_time(within)
            self._is_starting = False
        finally:
            waiting.cancel()

    def _not_ready_in_time(self, within: float) -> NotReady:
        late = [name for name in self._programs if not self._ready[name].is_set()]
        others = f" (and {', '.join(late[1:])})" if late[1:] else ""
        log = self._programs[late[0]].log
        said = log_tail.cause(late[0], log)
        return NotReady(late[0], f"not ready after {within:.0f} s{others}{f': {said}' if said else ''}", log)

    def restart(self, name: str) -> None:
        """Ask a ready program to end, and start it again without a pause. Does nothing while it is not ready."""
        child = self._ready_children.get(name)
        if child is not None:
            self._restarting.add(name)
            child.terminate()

    async def failed(self) -> None:
        """Wait until a program is not restarted any more, and raise its NotReady."""
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    @property
    def is_hurried(self) -> bool:
        return self._hurry.is_set()

    def hurry(self) -> None:
        """Make `stop` send SIGKILL at once."""
        self._hurry.set()

    async def stop(self, order: Iterable[Iterable[str]]) -> None:
        """Stop the groups of programs one after the other, then all others."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._ready_children.clear()
        for group in (*order, tuple(self._children)):
            self.stopping = [name for name in group if name in self._children]
            await asyncio.gather(*(self._stop(name) for name in tuple(self.stopping)))
        await asyncio.gather(*(server.stop() for server in self._fork_servers.values()))

    async def _stop(self, name: str) -> None:
        await self._children.pop(name).stop(self._programs[name].stop_timeout, self._hurry)
        self.stopping.remove(name)

    async def _keep_running(self, program: Program) -> None:
        """Run `program` for ever, with a pause before each restart that doubles with each early death."""
        extra: Mapping[str, str] = program.first_env
        deaths = 0
        while True:
            began = time.monotonic()
            outcome = await self._run_until_end(program, extra)
            extra = {}
            if program.name in self._restarting:
                self._restarting.discard(program.name)
                deaths = 0
                continue
            deaths = 1 if time.monotonic() - began > STABLE_AFTER_S else deaths + 1
            if self._is_starting and deaths >= DEATHS_IN_A_ROW:
                raise NotReady(program.name, f"died {deaths} times in a row: {outcome}", program.log)
            pause = RESTART_BACKOFF.pause_s(deaths, 0.0)
            if not self._is_starting:
                self._say(f"{program.name} died ({outcome}), restarting in {pause:.1f} s")
                if deaths >= DEATHS_IN_A_ROW:
                    self._say(self._last_log_lines(program.name))
            await asyncio.sleep(pause)

    async def _run_until_end(self, program: Program, extra: Mapping[str, str]) -> str:
        """Run `program` until it ends. Returns how it ended, with the cause if its log has one.

        Raises NotReady if it refused its settings.
        """
        try:
            child = self._children[program.name] = await self._child(program, extra)
        except OSError as exc:
            return f"it could not be started: {exc.strerror}"
        await self._let_go(program, child)
        await self._until_ready(program, child)
        await child.ended.wait()
        if self._ready_children.pop(program.name, None):
            self._changed()
        why = log_tail.cause(program.name, program.log, child.log_offset)
        if child.refused:
            raise NotReady(program.name, why or "it refused its settings", program.log)
        return f"{child.outcome}: {why}" if why and not child.was_killed else child.outcome

    async def _child(self, program: Program, extra: Mapping[str, str]) -> Child:
        """A new process of the program, by itself if its fork server cannot make one. Raises OSError."""
        if program.fork_server:
            if program.fork_server not in self._fork_servers:
                self._fork_servers[program.fork_server] = ForkServer(program)
            with contextlib.suppress(CannotFork):
                return await self._fork_servers[program.fork_server].fork(program, extra)
        return Child.execute(program, extra, waits=not self._is_ready(program.needs))

    def _is_ready(self, names: Iterable[str]) -> bool:
        return all(name in self._ready and self._ready[name].is_set() for name in names)

    async def _let_go(self, program: Program, child: Child) -> None:
        """Tell the child to go on when all that it needs is ready; returns at once if it has ended."""
        waits = [asyncio.create_task(wait) for wait in (self.wait_for(*program.needs), child.ended.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        child.go()

    async def _until_ready(self, program: Program, child: Child) -> None:
        """Probe until the child is ready or has ended."""
        while not child.ended.is_set():
            found = await program.probe()
            if found.ok:
                self.ready_at.setdefault(program.name, time.monotonic() - child.started)
                self.notes[program.name] = found.notes
                self._told_causes.pop(program.name, None)
                self._ready_children[program.name] = child
                self._ready[program.name].set()
                self._changed()
                return
            if found.cause:
                self._tell_cause(program, found.cause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_INTERVAL_S):
                    await child.ended.wait()

    def _tell_cause(self, program: Program, cause: str) -> None:
        """Raises NotReady during the start. Later a person may still remove the cause, so it is only said, once."""
        if self._is_starting:
            raise NotReady(program.name, cause, program.log)
        if self._told_causes.get(program.name) != cause:
            self._told_causes[program.name] = cause
            self._say(f"{program.name} is not ready: {cause}")

    def _last_log_lines(self, name: str) -> str:
        log = self._programs[name].log
        return "\n".join([*(f"  {log_tail.plain(name, line)}" for line in log_tail.last_lines(log)), f"  log: {log}"])
