"""Runs the calls of file tools in helpers: any number side by side, each with its time limit, each alone in its helper.

A helper is forked for the first call and kept for the next ones. A helper that does not do for another call is ended.
"""

from __future__ import annotations

import signal

from .frames import decode
from .helper_process import HelperProcess
from .processes import CROWDED, kill, parents
from .text import text_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .channel import Call
    from .files import Root
    from .poller import Poller, Timer

IDLE_HELPERS: Final = 4
"""Most helpers that wait for a call; a model seldom makes more calls at once."""

IDLE_S: Final = 60.0
"""Seconds after which a helper that waits is ended. The last one used is used first, so what is not needed ends."""

CONTINUE_S: Final = 1.0
"""Seconds after which the helper of a call is told to go on: a `pkill -STOP python3` may have stopped it."""

KILLED: Final = "it was killed, most likely for want of memory"


class _Running:
    """A call that a helper runs."""

    def __init__(self, call: Call, *, reused: bool) -> None:
        self.call = call
        self.reused = reused
        """Whether the helper waited for the call, so that it may have ended before."""
        self.timer: Timer | None = None
        self.continue_timer: Timer | None = None
        self.stopped_because = ""


class FileCalls:
    """`idle_s`: seconds after which a helper that waits for a call is ended."""

    def __init__(self, poller: Poller, root: Root, idle_s: float) -> None:
        self._poller, self._root, self._idle_s = poller, root, idle_s
        self._helpers: set[HelperProcess] = set()
        """All that have not been waited for yet, those that end included."""
        self._idle: dict[HelperProcess, Timer] = {}
        """Those that wait for a call, the last one used last, and when each will be ended."""
        self._running: dict[HelperProcess, _Running] = {}

    def processes(self) -> set[int]:
        """The ids of all helpers."""
        return {helper.pid for helper in self._helpers}

    def start(self, call: Call) -> None:
        """Start the call, which is replied to later, or at once if no process can be started."""
        if self._idle:
            helper, timer = self._idle.popitem()
            self._poller.drop(timer)
            self._run(helper, _Running(call, reused=True))
        else:
            self._start_in_new_helper(call)

    def cancel(self, call_id: int) -> None:
        """Stop the call; its reply, an error, is still sent. A call that has ended is ignored."""
        for helper, running in self._running.items():
            if running.call.id == call_id:
                self._stop(helper, running, "cancelled")

    def _start_in_new_helper(self, call: Call) -> None:
        try:
            helper = HelperProcess(self._poller, self._root, self._on_frame, self._on_exit)
        except OSError:
            call.reply([text_block(f"{call.name}: {CROWDED}")], is_error=True)
            return
        self._helpers.add(helper)
        self._run(helper, _Running(call, reused=False))

    def _run(self, helper: HelperProcess, running: _Running) -> None:
        limit = running.call.limit
        running.timer = self._poller.after(limit, lambda: self._stop(helper, running, f"timed out after {limit:g} s"))
        running.continue_timer = self._poller.after(CONTINUE_S, lambda: kill(helper.pid, signal.SIGCONT))
        self._running[helper] = running
        helper.send(running.call.frame)

    def _on_frame(self, helper: HelperProcess, frame: bytes) -> None:
        running = self._running.get(helper)
        if running is None or running.stopped_because:
            helper.kill()
            return
        try:
            content, is_error, fit_for_another = decode(frame)
        except ValueError:
            self._stop(helper, running, "its result made no sense")
            return
        del self._running[helper]
        self._drop_timers(running)
        if fit_for_another and len(self._idle) < IDLE_HELPERS:
            self._idle[helper] = self._poller.after(self._idle_s, lambda: self._end_idle(helper))
        else:
            helper.kill()
        running.call.reply(content, bool(is_error))

    def _on_exit(self, helper: HelperProcess, unread: bool) -> None:
        self._helpers.discard(helper)
        self._poller.drop(self._idle.pop(helper, None))
        running = self._running.pop(helper, None)
        if running is None:
            return
        self._drop_timers(running)
        if unread and running.reused and not running.stopped_because:
            # It ended while it waited, so the call has not begun.
            self._start_in_new_helper(running.call)
            return
        why = running.stopped_because or KILLED
        running.call.reply([text_block(f"{running.call.name}: stopped: {why}")], is_error=True)

    def _drop_timers(self, running: _Running) -> None:
        self._poller.drop(running.timer)
        self._poller.drop(running.continue_timer)

    def _end_idle(self, helper: HelperProcess) -> None:
        del self._idle[helper]
        helper.kill()

    def _stop(self, helper: HelperProcess, running: _Running, why: str) -> None:
        """Kill the helper and its children, which ends the call. The first reason counts."""
        running.stopped_because = running.stopped_because or why
        for pid in [pid for pid, parent in parents().items() if parent == helper.pid]:
            kill(pid, signal.SIGKILL)
        helper.kill()
