"""The watchdog as the worker sees it: it never holds the worker up, and is replaced when it dies or hangs."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import psutil
import pytest

from holdfast.sandbox.drivers.bubblewrap.watchdog_process import WatchdogProcess
from tests.support.eventually import eventually


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a group with a child, as bubblewrap does while it makes a sandbox."""
    process = subprocess.Popen(["sh", "-c", "sleep 300 & wait"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def watchdogs() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "watchdog.py" in " ".join(child.cmdline())]


async def the_watchdog() -> psutil.Process:
    """The only one. The kernel shows the command line of a new program a moment after it has begun."""

    async def look() -> bool:
        return len(watchdogs()) == 1

    await eventually(look, what="one watchdog")
    return watchdogs()[0]


async def ended(process: subprocess.Popen[bytes], group: int) -> None:
    async def look() -> bool:
        if process.poll() is None:
            return False
        living = [p.pid for p in psutil.process_iter(["status"]) if p.info["status"] != psutil.STATUS_ZOMBIE]
        return all(_group(pid) != group for pid in living)

    await eventually(look, what="the end of the process and its group")


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


async def test_a_group_ends_at_the_deadline(victim: subprocess.Popen[bytes]) -> None:
    watchdog = WatchdogProcess(lambda: [victim.pid])
    watchdog.start()
    watchdog.add(victim.pid)
    watchdog.keep_until(time.monotonic() + 0.2)
    await ended(victim, victim.pid)
    await watchdog.stop()


async def test_a_stopped_watchdog_is_replaced_and_blocks_nothing(victim: subprocess.Popen[bytes]) -> None:
    """Case C19: a pipe takes 64 KiB, then a write to it blocks for ever."""
    watchdog = WatchdogProcess(lambda: [victim.pid])
    watchdog.start()
    first = await the_watchdog()
    first.send_signal(signal.SIGSTOP)
    later = time.monotonic() + 300
    for _ in range(5000):
        watchdog.keep_until(later)
    assert await the_watchdog() != first
    assert victim.poll() is None
    watchdog.keep_until(time.monotonic())
    await ended(victim, victim.pid)
    await watchdog.stop()
    assert not watchdogs()


async def test_a_watchdog_that_was_killed_is_replaced_and_knows_all(victim: subprocess.Popen[bytes]) -> None:
    watchdog = WatchdogProcess(lambda: [victim.pid])
    watchdog.start()
    watchdog.add(victim.pid)
    first = await the_watchdog()
    first.kill()
    await asyncio.to_thread(first.wait)
    watchdog.drop(1)
    assert await the_watchdog() != first
    await watchdog.stop()  # the end of its input means that the worker has ended
    await ended(victim, victim.pid)
