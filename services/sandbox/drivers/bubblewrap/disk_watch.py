"""Ends a sandbox whose workspace goes over its quota, or that grows while the disk of the host is nearly full."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

import structlog
from msgspec.structs import replace

from holdfast.process import failures
from holdfast.sandbox.drivers.bubblewrap import disk, open_files
from holdfast.sandbox.drivers.sandbox import Sandbox

log = structlog.get_logger()

FREE_SPACE_POLL_S: Final = 0.2
"""Seconds between two looks at the free space of the host's disk, which cost nothing."""

FORESIGHT_S: Final = 1.0
"""The disk counts as scarce if at the present pace it will be so after this time. A sandbox makes 50,000 files a
second: it would use up the reserve before its workspace is measured."""

MEASURE_INTERVAL_S: Final = 5.0
"""Seconds between two measurements of a workspace; sooner when the disk fills."""

MEASURE_COST_FACTOR: Final = 20
"""A measurement that took t seconds is followed by a pause of at least 20 t: a twentieth of one processor at most."""

SCARCE_COST_FACTOR: Final = 3
"""As MEASURE_COST_FACTOR while the disk of the host is scarce."""

MEASURE_FAILURE_LIMIT: Final = 20
"""Failed measurements in a row, FREE_SPACE_POLL_S apart, after which the sandbox is ended."""

DEEP_GRACE_S: Final = 60.0
"""Seconds for which a sandbox may go on whose workspace is nested too deeply at its start, to delete that: the one that
made it was ended. Meanwhile only the reserve of the host limits what lies deeper."""

UNMEASURED: Final = "its disk use cannot be measured"
"""Reason of the end of a sandbox whose disk use cannot be limited."""

_UNLIMITED: Final = disk.Quota(1 << 60, 1 << 60)


class DiskWatch:
    """Watches one sandbox. `members` returns the ids of its processes on the host."""

    def __init__(
        self, sandbox: Sandbox, workspace: Path, quota: disk.Quota, threads: Executor, members: Callable[[], list[int]]
    ) -> None:
        """`threads` run the measurements."""
        self._sandbox = sandbox
        self._workspace = workspace
        self._quota = quota
        self._threads = threads
        self._members = members
        self._counts_open_files = True
        self._use: disk.Use | None = None
        """The use at the last measurement at which the disk of the host was not scarce."""
        self._failures = 0
        self._deep_until = 0.0
        """Time of the event loop until which deep nesting is no breach."""

    async def run(self) -> None:
        """Measure again and again; kill the sandbox and return when it is over its quota, or grows and must not.

        A sandbox is also killed when its workspace cannot be measured, or after any fault here: then its size is not
        limited.
        """
        reason = UNMEASURED
        try:
            reason = await self._breach()
        except Exception:
            log.exception("the disk use of a sandbox is not limited any more", failure=failures.bug("driver"))
        await self._sandbox.kill(reason)

    async def _breach(self) -> str:
        """Return when the sandbox must be ended, with the reason."""
        clock = asyncio.get_running_loop().time
        reason = await self._measured(disk.Space(disk.NO_LIMIT, disk.NO_LIMIT))
        last = at_measurement = disk.free(self._workspace)
        last_at = clock()
        due_at, due_if_scarce_at = last_at + MEASURE_INTERVAL_S, last_at
        while not reason:
            await asyncio.sleep(FREE_SPACE_POLL_S)
            free = disk.free(self._workspace)
            foreseen = _foreseen(last, free, clock() - last_at)
            last, last_at = free, clock()
            is_filling = at_measurement.size - free.size > self._quota.size // 8
            due = due_if_scarce_at if self._quota.is_scarce(foreseen) else due_at
            if last_at < due and not is_filling:
                continue
            began = time.perf_counter()
            reason = await self._measured(foreseen)
            took = time.perf_counter() - began
            at_measurement = free
            due_if_scarce_at = clock() + SCARCE_COST_FACTOR * took
            due_at = (
                due_if_scarce_at if self._failures else clock() + max(MEASURE_INTERVAL_S, MEASURE_COST_FACTOR * took)
            )
        return reason

    async def _measured(self, space: disk.Space) -> str:
        """Measure. Returns why the sandbox must be ended; empty if it may go on. `space`: the free space foreseen."""
        clock = asyncio.get_running_loop().time
        limits = self._quota if self._use is not None else _UNLIMITED
        try:
            use = await asyncio.get_running_loop().run_in_executor(self._threads, self._measure, limits)
        except OSError as exc:
            self._failures += 1
            log.warning("the workspace cannot be measured", cause=str(exc), failures=self._failures)
            return UNMEASURED if self._failures >= MEASURE_FAILURE_LIMIT else ""
        self._failures = 0
        if self._use is None:
            self._use, self._quota = use, self._quota.with_room(use)
            self._deep_until = clock() + DEEP_GRACE_S if use.deep else 0.0
        if clock() < self._deep_until:
            use = replace(use, deep=False)
        reason = self._quota.breach(use) or self._quota.growth(self._use, use, space)
        if not self._quota.is_scarce(space):
            self._use = use
        return reason

    def _measure(self, limits: disk.Quota) -> disk.Use:
        """The use of the workspace, with the deleted files that its processes hold. Runs in a thread."""
        use = disk.measure(self._workspace, limits)
        if not self._counts_open_files:
            return use
        try:
            return use + open_files.measure(self._members(), self._workspace.stat().st_dev)
        except PermissionError as exc:
            # A security module of the host, such as AppArmor: the sandbox cannot bring this about.
            log.warning("deleted files that a sandbox holds open are not counted", cause=str(exc))
            self._counts_open_files = False
            return use


def _foreseen(before: disk.Space, now: disk.Space, elapsed_s: float) -> disk.Space:
    """The free space after FORESIGHT_S at the pace since `before`, `elapsed_s` seconds ago. Growth of it is ignored."""
    share = FORESIGHT_S / max(elapsed_s, FREE_SPACE_POLL_S)
    return disk.Space(
        now.size - int(max(0, before.size - now.size) * share),
        now.files - int(max(0, before.files - now.files) * share),
    )
