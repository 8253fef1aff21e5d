"""A thread that is left behind."""

import asyncio
import threading

import pytest

from holdfast.sandbox.threads import in_daemon_thread


def test_a_loop_ends_while_the_work_of_a_cancelled_task_still_runs() -> None:
    """As a worker that is stopped while it waits for a slow program of the host."""
    release, began = threading.Event(), threading.Event()

    def work() -> bool:
        began.set()
        return release.wait(60)

    async def main() -> None:
        task = asyncio.create_task(in_daemon_thread(work))
        await asyncio.to_thread(began.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not release.is_set(), "the loop did not wait for it"
    release.set()


async def test_results_and_errors_come_back() -> None:
    assert await in_daemon_thread(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await in_daemon_thread(int, "x")
