"""Ends a sandbox whose workspace goes over its quota, or that fills the disk of the host."""

import asyncio
from pathlib import Path
from typing import Final

import structlog

from holdfast.sandbox.drivers.bubblewrap import disk
from holdfast.sandbox.drivers.sandbox import Sandbox

log = structlog.get_logger()

FREE_SPACE_POLL_S: Final = 0.25
"""Seconds between two looks at the free space of the host's disk, which cost nothing."""

MEASURE_INTERVAL_S: Final = 5.0
"""Seconds between two measurements of a workspace; sooner when the disk fills."""

MEASURE_COST_FACTOR: Final = 20
"""A measurement that took t seconds is followed by a pause of at least 20 t: a twentieth of one processor at most."""

MEASURE_FAILURE_LIMIT: Final = 20
"""Failed measurements in a row, FREE_SPACE_POLL_S apart, after which the sandbox is ended."""

_UNLIMITED: Final = disk.Quota(1 << 60, 1 << 60, 0)


async def watch_disk(sandbox: Sandbox, workspace: Path, quota: disk.Quota) -> None:
    """Measure the workspace again and again; kill the sandbox and return when it is over its quota.

    A sandbox is also killed when its workspace cannot be measured: then its size cannot be limited.
    """
    loop = asyncio.get_running_loop()
    quota = quota.with_room(await asyncio.to_thread(disk.measure, workspace, _UNLIMITED))
    free_at_measurement = disk.free(workspace)
    due_at = loop.time() + MEASURE_INTERVAL_S
    failures = 0
    while True:
        await asyncio.sleep(FREE_SPACE_POLL_S)
        free = disk.free(workspace)
        filling = free_at_measurement - free > quota.size // 8
        if loop.time() < due_at and not filling and free >= quota.reserve:
            continue
        started_at = loop.time()
        try:
            use = await asyncio.to_thread(disk.measure, workspace, quota)
        except OSError as exc:
            log.warning("the workspace cannot be measured", cause=str(exc))
            failures += 1
            if failures == MEASURE_FAILURE_LIMIT:
                await sandbox.kill("its disk use cannot be measured")
                return
            continue
        failures, free_at_measurement = 0, free
        due_at = loop.time() + max(MEASURE_INTERVAL_S, MEASURE_COST_FACTOR * (loop.time() - started_at))
        breach = quota.breach(use, disk.free(workspace))
        if breach:
            await sandbox.kill(breach)
            return
