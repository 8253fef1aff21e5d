"""The processes of the demo: the scripted model, when no real one is configured, and `holdfast up`."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from holdfast.cli.embedded.log_tail import last_lines
from holdfast.cli.embedded.runfile import NAME, RunFile, read
from holdfast.process.parent_death import end_with_parent

READY_CHECK_INTERVAL_S: Final = 0.05
"""Seconds between two checks whether the stack is ready. `holdfast up` has a timeout of its own."""

STOP_TIMEOUT_S: Final = 60.0
"""A process that was asked to stop is killed after this time. `holdfast up` needs less."""

SCENARIO: Final = Path(__file__).parents[2] / "scripted_model" / "scenarios" / "demo.yaml"


class CannotStart(Exception):
    """A process of the demo did not start; the text is its error output."""


@contextlib.asynccontextmanager
async def scripted(log: Path) -> AsyncGenerator[str]:
    """Run a scripted model that plays the demo; yields its base URL. Raises CannotStart."""
    argv = [sys.executable, "-P", "-m", "holdfast.scripted_model", "--scenario", str(SCENARIO)]
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
    try:
        assert process.stdout
        line = await process.stdout.readline()
        if not line:
            raise CannotStart(f"the scripted model did not start: {' '.join(last_lines(log, 3))}")
        yield json.loads(line)["base_url"]
    finally:
        await _end(process, signal.SIGTERM)


@contextlib.asynccontextmanager
async def stack(data: Path, environ: Mapping[str, str]) -> AsyncGenerator[Path]:
    """A running stack on a folder that exists; yields the path of its run.json. Raises CannotStart."""
    out, errors = data / "up.log", data / "up.errors"
    argv = [sys.executable, "-P", "-m", "holdfast.cli", "up", "--data", str(data), "--port", "0"]
    with out.open("wb") as stdout, errors.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, **environ},
            start_new_session=True,  # Ctrl-C is for the demo, which then stops the stack
            preexec_fn=partial(end_with_parent, os.getpid()),
        )
    try:
        while not (data / NAME).exists() or running(data / NAME) is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), READY_CHECK_INTERVAL_S)
                raise CannotStart(errors.read_text().strip() or f"holdfast up ended with code {process.returncode}")
        yield data / NAME
    finally:
        await _end(process, signal.SIGINT)


def running(run_file: Path) -> RunFile | None:
    """The running stack; None while there is none."""
    return read(run_file)


async def _end(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
