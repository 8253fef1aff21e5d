"""The event loop of the agent: calls handlers when descriptors are ready and when timers are due."""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """An action and the time (of `time.monotonic()`) at which it is due."""

    def __init__(self, due_at: float, action: Callable[[], None]) -> None:
        self.due_at = due_at
        self.action = action


class Poller:
    """One thread waits for everything: descriptors by epoll, timers by its timeout."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._timers: list[Timer] = []

    def watch(self, fd: int, handler: Callable[[], None], events: int = select.EPOLLIN) -> None:
        """Call `handler` whenever `fd` is ready, in place of an earlier handler of it."""
        if fd in self._handlers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """Call no handler for `fd` any more. May be repeated; must come before `fd` is closed."""
        if self._handlers.pop(fd, None):
            self._epoll.unregister(fd)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call `action` once after so many seconds, unless the timer is dropped."""
        timer = Timer(time.monotonic() + seconds, action)
        self._timers.append(timer)
        return timer

    def drop(self, timer: Timer | None) -> None:
        """Do not call the timer's action. A timer that is over, or None, is ignored."""
        if timer in self._timers:
            self._timers.remove(timer)

    def run(self) -> None:
        """Call handlers and timers for ever.

        Timers come last: what has been answered while this process was held up has been answered in time.
        """
        while True:
            due_at = min((timer.due_at for timer in self._timers), default=None)
            for fd, _ in self._epoll.poll(None if due_at is None else max(0.0, due_at - time.monotonic())):
                handler = self._handlers.get(fd)
                if handler:
                    handler()
            self._call_due_timers()

    def _call_due_timers(self) -> None:
        now = time.monotonic()
        for timer in [timer for timer in self._timers if timer.due_at <= now]:
            if timer in self._timers:  # the action of an earlier one may have dropped it
                self._timers.remove(timer)
                timer.action()
