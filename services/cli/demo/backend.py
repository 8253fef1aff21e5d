"""The processes of the demo: the scripted model, when no real one is configured, and `holdfast up`."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Final

from holdfast.cli.embedded.runfile import NAME, RunFile, read
from holdfast.cli.supervisor import last_lines

READY_WITHIN: Final = 60.0
STOP_WITHIN: Final = 20.0
SCENARIO: Final = Path(__file__).parents[1] / "scenarios" / "demo.yaml"


class CannotStart(Exception):
    """A process of the demo did not start; the text says which and where its output is."""


@contextlib.asynccontextmanager
async def scripted(log: Path) -> AsyncGenerator[str]:
    """A scripted model that plays the demo; its base URL."""
    argv = [sys.executable, "-m", "holdfast.cli.scripted", "--scenario", str(SCENARIO)]
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, stderr=errors)
    try:
        assert process.stdout
        line = await process.stdout.readline()
        if not line:
            raise CannotStart(f"the scripted model did not start; see {log}")
        yield json.loads(line)["base_url"]
    finally:
        await _end(process, signal.SIGTERM)


@contextlib.asynccontextmanager
async def stack(data: Path, environ: Mapping[str, str]) -> AsyncGenerator[Path]:
    """A running stack on a folder that exists; yields the path of its run.json."""
    log, run_file = data / "up.log", data / NAME
    argv = [str(Path(sys.executable).with_name("holdfast")), "up", "--data", str(data), "--port", "0"]
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=output, stderr=output, env={**os.environ, **environ}, start_new_session=True
        )
    try:
        await _ready(process, run_file, log)
        yield run_file
    finally:
        await _end(process, signal.SIGINT)


async def _ready(process: asyncio.subprocess.Process, run_file: Path, log: Path) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_WITHIN):
            while process.returncode is None:
                if running(run_file):
                    return
                await asyncio.sleep(0.02)
    raise CannotStart("\n".join(["the stack did not start:", *last_lines(log), f"The whole output is in {log}."]))


def running(run_file: Path) -> RunFile | None:
    """What runs now; None while nothing does."""
    return read(run_file)


async def _end(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), STOP_WITHIN)
        except TimeoutError:
            process.kill()
            await process.wait()
