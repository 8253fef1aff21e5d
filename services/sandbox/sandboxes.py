"""The sandboxes that a worker has in one registration epoch, and the calls that each of them knows.

A call is known for as long as its generation lives: that is what makes a call run at most once (rule 13).
"""

import asyncio
from typing import Literal

from holdfast.bus.commands import Provisioned
from holdfast.bus.errors import BusError
from holdfast.bus.ids import Key
from holdfast.bus.inputs import CallResult
from holdfast.sandbox.drivers.sandbox import Sandbox

Phase = Literal["checking", "running", "answered", "delivering", "done"]

Creation = asyncio.Task[Provisioned | BusError]
"""The task that makes the sandbox of a session."""


class TrackedCall:
    """A call in one generation.

    `decided` is set when it is known whether the call runs, `ended` when it has run or was refused, `settled` when its
    answered result was confirmed or is not wanted, `finished` when nothing of it follows any more.
    """

    def __init__(self) -> None:
        self.phase: Phase = "checking"
        self.decided = asyncio.Event()
        self.ended = asyncio.Event()
        self.settled = asyncio.Event()
        self.finished = asyncio.Event()
        self.window_ends_at = 0.0
        """Loop time up to which a request for this call waits for its result (rule 13)."""
        self.waiting = 0
        """Requests that wait for the result."""
        self.result: CallResult | None = None
        """The result while it may be given in an answer."""


class SandboxHandle:
    """A sandbox of a session with its calls. Bookkeeping only: nothing here awaits.

    `alive` becomes False once, when the worker gives the generation up, and never True again.
    """

    def __init__(self, key: Key, generation: str, sandbox: Sandbox, now: float) -> None:
        self.key = key
        self.generation = generation
        self.sandbox = sandbox
        self.alive = True
        self._last_used = now
        self._calls: dict[str, TrackedCall] = {}
        self._refused: set[str] = set()
        self._owed: set[str] = set()

    def find(self, call_id: str) -> TrackedCall | None:
        """The call if it is known here."""
        return self._calls.get(call_id)

    def track(self, call_id: str) -> TrackedCall:
        """Know the call from now on; it is being checked."""
        call = self._calls[call_id] = TrackedCall()
        return call

    def forget(self, call_id: str) -> None:
        """The call will not run and may be asked for again."""
        call = self._calls.pop(call_id, _FINISHED)
        call.decided.set()
        call.ended.set()
        call.finished.set()

    @property
    def owes_results(self) -> bool:
        """True while the result of a call that ran is neither stored, confirmed nor unwanted."""
        return bool(self._owed)

    def mark_running(self, call_id: str, call: TrackedCall, *, window_ends_at: float) -> None:
        """The call runs; requests for it wait for the result up to that loop time."""
        self._owed.add(call_id)
        call.phase = "running"
        call.window_ends_at = window_ends_at
        call.decided.set()

    def mark_answered(self, call: TrackedCall, result: CallResult) -> None:
        """The call has ended while requests waited for it: they are answered with the result."""
        call.phase = "answered"
        call.result = result
        call.ended.set()

    def mark_delivering(self, call: TrackedCall) -> None:
        """The result of the call is being stored: a cancellation comes too late."""
        call.phase = "delivering"
        call.result = None
        call.ended.set()

    def finish(self, call_id: str, now: float) -> None:
        """Nothing of the call follows any more."""
        call = self._calls[call_id]
        call.phase = "done"
        call.result = None
        call.ended.set()
        call.finished.set()
        self._calls[call_id] = _FINISHED
        self._last_used = now

    def settle(self, call_id: str) -> None:
        """The result of the call is stored or confirmed, or nobody wants it."""
        self._owed.discard(call_id)

    async def calls_ended(self) -> None:
        """Return when nothing follows of any call."""
        for call in list(self._calls.values()):
            await call.finished.wait()

    def refuse(self, call_id: str) -> None:
        """Never run the call, nor store a result of it (rule 18)."""
        self._refused.add(call_id)

    def refuse_all(self) -> None:
        """Store no result of any known call."""
        self._refused.update(self._calls)

    def is_refused(self, call_id: str) -> bool:
        """Whether the call was refused."""
        return call_id in self._refused

    def idle_since(self) -> float | None:
        """Loop time at which the last call finished; None while a call is unfinished."""
        return None if any(call.phase != "done" for call in self._calls.values()) else self._last_used


def _finished() -> TrackedCall:
    call = TrackedCall()
    call.phase = "done"
    call.decided.set()
    call.ended.set()
    call.finished.set()
    return call


_FINISHED = _finished()
"""Stands for every finished call, so that a long-lived generation costs little memory."""


class Sandboxes:
    """The living sandboxes by generation and by session, and the sandboxes being made.

    Every handle in this table is alive: `remove` takes it out and ends its life in one step.
    """

    def __init__(self) -> None:
        self._by_generation: dict[str, SandboxHandle] = {}
        self._by_session: dict[Key, SandboxHandle] = {}
        self._left: dict[str, SandboxHandle] = {}
        """Generations that were given up and of whose calls results may not be stored yet."""
        self._creations: dict[Key, Creation] = {}
        self._starting = 0
        self.closed = False
        """True when the epoch is over: no further sandbox may be made."""

    def all(self) -> list[SandboxHandle]:
        """Every living sandbox."""
        return list(self._by_generation.values())

    def reserve(self, limit: int) -> bool:
        """Reserve the place of a sandbox that is about to be made; False if there are `limit` already (0: no limit)."""
        if limit and len(self._by_generation) + self._starting >= limit:
            return False
        self._starting += 1
        return True

    def unreserve(self) -> None:
        """The reserved sandbox has been added, or could not be made."""
        self._starting -= 1

    def find(self, key: Key, generation: str) -> SandboxHandle | None:
        """The generation, if it lives here and is the session's."""
        handle = self._by_generation.get(generation)
        return handle if handle is not None and handle.key == key else None

    def of_session(self, key: Key) -> SandboxHandle | None:
        """The sandbox that was made last for the session, if it lives."""
        return self._by_session.get(key)

    def add(self, handle: SandboxHandle) -> None:
        """Answer for this generation from now on."""
        self._by_generation[handle.generation] = self._by_session[handle.key] = handle

    def remove(self, handle: SandboxHandle) -> None:
        """Give the generation up: everybody who asks for it is told that it is gone. May be repeated."""
        handle.alive = False
        if handle.owes_results:
            self._left[handle.generation] = handle
        self._by_generation.pop(handle.generation, None)
        if self._by_session.get(handle.key) is handle:
            del self._by_session[handle.key]

    def find_any(self, key: Key, generation: str) -> SandboxHandle | None:
        """As `find`, but also a generation that was given up while results of its calls were not stored."""
        handle = self._by_generation.get(generation) or self._left.get(generation)
        return handle if handle is not None and handle.key == key else None

    def forget(self, handle: SandboxHandle) -> None:
        """The calls of a generation that was given up have ended; it stays known only if it still owes results."""
        if not handle.owes_results:
            self._left.pop(handle.generation, None)

    def owes_results(self, generation: str) -> bool:
        """True if a result of a call of that generation has yet to be stored, or never was."""
        handle = self._by_generation.get(generation) or self._left.get(generation)
        return handle is not None and handle.owes_results

    async def end(self, handle: SandboxHandle, reason: str) -> None:
        """Give the generation up and kill the sandbox; returns when nothing of it runs."""
        self.remove(handle)
        await handle.sandbox.kill(reason)

    async def end_all(self, reason: str) -> None:
        """Give every generation up at once, then kill all the sandboxes at the same time."""
        handles = self.all()
        for handle in handles:
            self.remove(handle)
        await asyncio.gather(*[handle.sandbox.kill(reason) for handle in handles])

    def creation(self, key: Key) -> Creation | None:
        """The task that is making a sandbox for the session."""
        return self._creations.get(key)

    def add_creation(self, key: Key, creation: Creation) -> None:
        """Know the task until it has ended."""
        self._creations[key] = creation
        creation.add_done_callback(lambda _: self._creations.pop(key, None))

    def close(self) -> None:
        """Give every generation up, without killing it, and stop making new ones."""
        self.closed = True
        for handle in self.all():
            self.remove(handle)
        for creation in self._creations.values():
            creation.cancel()
