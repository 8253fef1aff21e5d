"""A background duty that fails begins again."""

import asyncio
import itertools

from holdfast.process.supervision import supervised
from tests.simulation import virtual_time
from tests.support.clock import WorkerReport


def test_a_duty_begins_again_after_growing_pauses_and_the_failures_are_told() -> None:
    began_at: list[float] = []

    async def sweep() -> None:
        began_at.append(asyncio.get_running_loop().time())
        if len(began_at) < 6:
            raise OSError("disk")

    report = WorkerReport()
    virtual_time.run(lambda: supervised(sweep, report.note), lambda _task, _context: None)
    assert len(began_at) == 6
    assert report.notes == {"duty sweep": "failed 5 times, last with OSError"}
    pauses = [later - earlier for earlier, later in itertools.pairwise(began_at)]
    assert min(pauses) > 0
    assert max(pauses[2:]) > max(pauses[:1])
