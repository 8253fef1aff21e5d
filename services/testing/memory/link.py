"""The way of one process to the server in memory and back, with the faults on it."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import TypeVar

from holdfast.bus.errors import BusError, Unavailable
from holdfast.testing.memory.records import CoreMessage, Subscriber
from holdfast.testing.memory.server import MemoryServer

T = TypeVar("T")


class Closable:
    """A subscription that `close` ends."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._on_close = close

    def stop(self) -> None:
        self._on_close()

    async def close(self) -> None:
        """See `api.Subscription.close`."""
        self.stop()


class MemoryLink:
    """One process at the server."""

    def __init__(self, server: MemoryServer, name: str) -> None:
        self.server = server
        self.name = name
        self.dead = False
        self._at_death: list[Callable[[], None]] = []

    def kill(self) -> None:
        """From now on this process has no effect on the server, and receives nothing from it."""
        self.dead = True
        for undo in self._at_death:
            undo()

    def at_death(self, undo: Callable[[], None]) -> None:
        """Call `undo` when the process dies or closes the bus."""
        self._at_death.append(undo)

    def _check_alive(self) -> None:
        """Raises CancelledError in a process that is dead: its tasks shall end."""
        if self.dead:
            raise asyncio.CancelledError

    async def pause(self, operation: str) -> None:
        """The await before or after an effect."""
        self._check_alive()
        await self.server.faults.pause(self.name, operation)
        self._check_alive()

    async def effect(self, operation: str, act: Callable[[], T]) -> T:
        """Carry `act` out at the server. Raises Unavailable if its answer is lost."""
        faults = self.server.faults
        await self.pause(operation)
        match faults.fate(self.name, operation):
            case "good":
                answer = act()
                await self.pause(f"{operation}:answer")
                return answer
            case "lost":
                pass
            case "unanswered":
                _ignoring_refusals(act)
            case "late":
                asyncio.get_running_loop().call_later(faults.delay(self.name, operation), _ignoring_refusals, act)
        await self.pause(f"{operation}:silence")
        raise Unavailable(f"{operation}: no answer")

    async def best_effort(self, operation: str, act: Callable[[], object]) -> None:
        """Carry `act` out at the server without waiting for an answer; it may be lost."""
        faults = self.server.faults
        await self.pause(operation)
        match faults.fate(self.name, operation):
            case "lost":
                return
            case "late":
                asyncio.get_running_loop().call_later(faults.delay(self.name, operation), act)
            case _:
                act()

    def replica_time(self, operation: str) -> float:
        """The loop time up to which the replica that answers this read has caught up."""
        return self.server.now() - self.server.faults.lag(self.name, operation)

    def listen(self, pattern: str, receive: Callable[[CoreMessage], None], queue: str = "") -> Closable:
        """Subscribe in the context of the running task."""
        self._check_alive()
        subscriber = Subscriber(pattern, queue, receive, contextvars.copy_context())
        self.server.subscribe(subscriber)

        def undo() -> None:
            self.server.unsubscribe(subscriber)

        self.at_death(undo)
        return Closable(undo)


def _ignoring_refusals(act: Callable[[], object]) -> None:
    """Run `act`; its answer reaches nobody, nor does its refusal."""
    try:
        act()
    except BusError:
        return
