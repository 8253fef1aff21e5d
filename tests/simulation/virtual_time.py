"""An event loop whose time is its own: it jumps to the next timer when nothing is ready. No sockets, no threads.

The same seed gives the same schedule, and an hour of silence costs nothing.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

OnTaskCreated = Callable[[asyncio.Task[Any], contextvars.Context], None]


class Standstill(Exception):
    """Nothing is ready and no timer is set: nothing will ever happen again."""


class _Nowhere:
    """In place of a selector: no file is ever ready, waiting only moves the clock."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Standstill
        self._loop.advance(timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """`on_task_created` hears of every new task and of the context it runs in."""

    def __init__(self, on_task_created: OnTaskCreated) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = _Nowhere(self)
        self._on_task_created = on_task_created
        self.set_task_factory(self._make)  # pyright: ignore[reportArgumentType]  what it gets is a coroutine

    def time(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += max(0.0, seconds)

    def _make(
        self, _: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], context: contextvars.Context | None = None
    ) -> asyncio.Task[T]:
        context = contextvars.copy_context() if context is None else context
        task = asyncio.Task(coro, loop=self, context=context)
        self._on_task_created(task, context)
        return task

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


def run(main: Callable[[], Coroutine[Any, Any, T]], on_task_created: OnTaskCreated) -> T:
    """Run to the end, then cancel what is left over."""
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
