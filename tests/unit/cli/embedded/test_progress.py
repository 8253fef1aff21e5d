"""Start and stop in a pipe: one line for each service that is ready, and the processes that a slow stop waits for."""

import asyncio
import io

from rich.console import Console

from holdfast.cli.embedded.progress import StartProgress, StopProgress
from tests.support.eventually import eventually


def test_each_service_has_a_line_when_it_is_ready_and_replicas_share_one() -> None:
    out = io.StringIO()
    with StartProgress(Console(file=out, width=40), ["nats", "harness-1", "harness-2"]) as progress:
        progress.update({"nats": 0.12})
        progress.update({"nats": 0.12, "harness-1": 1.0})
        assert out.getvalue().splitlines() == ["✓ nats          0.1 s"]
        progress.update({"nats": 0.12, "harness-1": 1.0, "harness-2": 2.55})
    assert out.getvalue().splitlines() == ["✓ nats          0.1 s", "✓ harness x2    2.5 s"]


async def test_a_slow_stop_names_once_the_processes_it_waits_for() -> None:
    said: list[str] = []
    waiting = ["harness-1", "harness-2", "sandbox"]
    progress = StopProgress(Console(file=io.StringIO()), said.append, 7.0)
    watching = asyncio.create_task(progress.watch(lambda: waiting))

    async def told() -> bool:
        return bool(said)

    await eventually(told, what="a word")
    waiting.clear()
    watching.cancel()
    assert said == ["waiting for harness x2, sandbox, at most 7 s"]
