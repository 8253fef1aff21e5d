"""A sandbox in a worker's hands, and what it knows of calls: pure bookkeeping, no awaits.

Calls are known for as long as the generation lives: that is what makes a call run at most once (rule 13).
"""

import asyncio
from typing import Literal

from holdfast.bus.ids import Key
from holdfast.sandbox.drivers.sandbox import Sandbox

Phase = Literal["checking", "running", "delivering", "done"]


class Call:
    """One call in this generation: `settled` is set when it is clear whether it runs, `over` when nothing follows."""

    def __init__(self) -> None:
        self.phase: Phase = "checking"
        self.settled = asyncio.Event()
        self.over = asyncio.Event()


class SandboxHandle:
    """The sandbox of a session: `alive` ends once and for all."""

    def __init__(self, key: Key, generation: str, box: Sandbox, now: float) -> None:
        self.key = key
        self.generation = generation
        self.box = box
        self.alive = True
        self.used = now
        self._calls: dict[str, Call] = {}
        self._refused: set[str] = set()

    def find(self, call: str) -> Call | None:
        return self._calls.get(call)

    def begin(self, call: str) -> Call:
        """Know the call from now on."""
        entry = self._calls[call] = Call()
        return entry

    def forget(self, call: str) -> None:
        """It will not run, and may be asked for again."""
        entry = self._calls.pop(call, _DONE)
        entry.settled.set()
        entry.over.set()

    def run(self, entry: Call) -> None:
        """It runs."""
        entry.phase = "running"
        entry.settled.set()

    def deliver(self, entry: Call) -> None:
        """It has a result on the way that is not to be stopped any more."""
        entry.phase = "delivering"

    def close(self, call: str, now: float) -> None:
        """Its result is stored, or will never be."""
        entry = self._calls[call]
        entry.phase = "done"
        entry.over.set()
        self._calls[call] = _DONE
        self.used = now

    def refuse(self, call: str) -> None:
        """Never run it, nor let a result of it out (rule 18)."""
        self._refused.add(call)

    def refuse_all(self) -> None:
        """Let no result of any call out any more."""
        self._refused.update(self._calls)

    def refused(self, call: str) -> bool:
        return call in self._refused

    def idle_since(self) -> float | None:
        """When it had its last call; None while one is in hand."""
        return None if any(entry.phase != "done" for entry in self._calls.values()) else self.used


def _finished() -> Call:
    entry = Call()
    entry.phase = "done"
    entry.settled.set()
    entry.over.set()
    return entry


_DONE = _finished()
"""Stands for every call that is over, so that a long-lived generation costs little memory."""
