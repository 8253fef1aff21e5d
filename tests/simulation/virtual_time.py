"""An event loop with a virtual clock. When no task is ready, the clock jumps to the next timer. No sockets, no threads.

A schedule is therefore repeatable, and an hour of virtual time without events takes no real time.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

OnTaskCreated = Callable[[asyncio.Task[Any], contextvars.Context], None]


class Standstill(Exception):
    """A deadlock: no task is ready and no timer is set, so no task can ever continue."""


class _ClockSelector:
    """Stands in for the selector of the loop. It has no files; waiting advances the clock."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Standstill
        self._loop.advance(timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """`on_task_created` is called with every new task and the context that it runs in."""

    def __init__(self, on_task_created: OnTaskCreated) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = _ClockSelector(self)
        self._on_task_created = on_task_created
        self.set_task_factory(self._make)  # pyright: ignore[reportArgumentType]  asyncio passes coroutines only

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock forward; a negative number leaves it as it is."""
        self._now += max(0.0, seconds)

    def _make(
        self, _: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], context: contextvars.Context | None = None
    ) -> asyncio.Task[T]:
        context = contextvars.copy_context() if context is None else context
        task = asyncio.Task(coro, loop=self, context=context)
        self._on_task_created(task, context)
        return task

    def _process_events(self, event_list: list[Any]) -> None:
        """Does nothing: the selector never returns events."""

    def _write_to_self(self) -> None:
        """Does nothing: it is meant to wake a selector that waits, and this one never waits."""


def run(main: Callable[[], Coroutine[Any, Any, T]], on_task_created: OnTaskCreated) -> T:
    """Run `main` in a new virtual loop and return its result. Tasks that are left at the end are cancelled."""
    loop = VirtualLoop(on_task_created)
    try:
        asyncio.set_event_loop(loop)
        result = loop.run_until_complete(main())
        for _ in range(20):
            left = [task for task in asyncio.all_tasks(loop) if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left, timeout=5))
        loop.run_until_complete(loop.shutdown_asyncgens())
        return result
    finally:
        asyncio.set_event_loop(None)
        loop.close()
