"""Whether sandboxes can be made here: reported to the health of the process, and logged when it changes."""

import asyncio
from typing import Protocol

import structlog

from holdfast.sandbox.drivers.driver import SandboxUnavailable

log = structlog.get_logger()


class Report(Protocol):
    """Receives the state of the worker; `holdfast.process.health.Health` is one."""

    def set(self, check: str, ok: bool, cause: str = "") -> None:
        """Record a check: `bus` or `sandbox`."""
        ...

    def note(self, name: str, text: str) -> None:
        """Record a note to the operator that is not a fault; an empty text removes it."""
        ...


class Availability:
    """Whether the last attempt to make a sandbox worked. One for all registration epochs of the process."""

    def __init__(self, report: Report) -> None:
        self.doubted = asyncio.Event()
        """Set by every failure: the driver should be probed again."""
        self._report = report
        self._cause: str | None = None
        """The cause that was logged last; empty after a success, None before the first attempt."""
        self._is_full = False

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
        self._report.set("sandbox", True)
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
