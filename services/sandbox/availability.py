"""Whether sandboxes can be had here: told to the health of the process, and to the log when it changes."""

from typing import Protocol

import structlog

from holdfast.sandbox.drivers.driver import SandboxUnavailable

log = structlog.get_logger()


class Report(Protocol):
    """Where the worker tells how it is; `holdfast.process.health.Health` is one."""

    def set(self, check: str, ok: bool, cause: str = "") -> None:
        """Record a check: `bus` or `sandbox`."""
        ...

    def note(self, name: str, text: str) -> None:
        """Tell a person something that is no fault; an empty text takes it back."""
        ...


class Availability:
    """What is known, over all registrations of this process."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._cause: str | None = None
        """The last cause in the log; empty after a success, None at the start."""

    @property
    def known(self) -> bool:
        """Whether it was found out at all."""
        return self._cause is not None

    def had(self, weak_limits: str) -> None:
        """A sandbox was made; `weak_limits` as the driver tells them."""
        self._report.set("sandbox", True)
        self._report.note("limits", weak_limits)
        if self._cause:
            log.info("sandboxes can be had again")
        elif self._cause is None and weak_limits:
            log.warning("limits hold less than they should", limits=weak_limits)
        self._cause = ""

    def missing(self, exc: SandboxUnavailable) -> None:
        """No sandbox could be made."""
        cause = str(exc)
        self._report.set("sandbox", False, cause)
        if cause == self._cause:
            log.debug("still no sandbox can be had")
        else:
            log.warning("no sandbox can be had", cause=cause)
        self._cause = cause
