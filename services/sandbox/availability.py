"""Whether sandboxes can be made here: reported to the health of the process, and logged when it changes."""

import asyncio
import math
from typing import Protocol

import structlog

from holdfast.sandbox.drivers.driver import SandboxUnavailable
from holdfast.sandbox.waiting import loop_time

log = structlog.get_logger()


class Report(Protocol):
    """Receives the state of the worker; `holdfast.process.health.Health` is one."""

    def set(self, check: str, ok: bool, cause: str = "", *, valid_s: float = math.inf) -> None:
        """Record a check, `bus` or `sandbox`, which is true for at most `valid_s` seconds."""
        ...

    def note(self, name: str, text: str) -> None:
        """Record a note to the operator that is not a fault; an empty text removes it."""
        ...


class Availability:
    """Whether the last attempt to make a sandbox worked. One for all registration epochs of the process."""

    def __init__(self, report: Report, *, valid_s: float) -> None:
        """`valid_s`: seconds for which it is believed that sandboxes can be made after one was made."""
        self._valid_s = valid_s
        self.doubted = asyncio.Event()
        """Set by every failure: the driver should be probed again."""
        self._report = report
        self._cause: str | None = None
        """The cause that was logged last; empty after a success, None before the first attempt."""
        self._is_full = False
        self.made_at = 0.0
        """Loop time at which a sandbox was last made, in seconds."""

    @property
    def known(self) -> bool:
        """Whether there was an attempt yet."""
        return self._cause is not None

    def full(self, limit: int) -> None:
        """A request was declined because this worker has `limit` sandboxes, the most that it may have."""
        self._report.note("capacity", f"full: {limit} sandboxes (HOLDFAST_MAX_SANDBOXES)")
        if not self._is_full:
            log.warning("the worker is full and declines further sessions", sandboxes=limit)
        self._is_full = True

    def has_room(self) -> None:
        """A sandbox has ended."""
        if self._is_full:
            self._report.note("capacity", "")
        self._is_full = False

    def available(self, weak_limits: str) -> None:
        """A sandbox was made. `weak_limits` is that of the driver."""
        self.made_at = loop_time()
        self._report.set("sandbox", True, valid_s=self._valid_s)
        self._report.note("limits", weak_limits)
        if self._cause:
            log.info("sandboxes can be had again")
        elif self._cause is None and weak_limits:
            log.warning("limits hold less than they should", limits=weak_limits)
        self._cause = ""

    def unavailable(self, exc: SandboxUnavailable) -> None:
        """A sandbox could not be made."""
        cause = str(exc)
        self._report.set("sandbox", False, cause)
        if cause == self._cause:
            log.debug("still no sandbox can be had")
        else:
            log.warning("no sandbox can be had", cause=cause)
        self._cause = cause
        self.doubted.set()
