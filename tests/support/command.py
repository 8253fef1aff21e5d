"""The `holdfast` program as a script runs it: in pipes, with nothing of the environment of the tests."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

HOLDFAST = str(Path(sys.executable).parent / "holdfast")
ENVIRON = {"PATH": os.environ["PATH"], "COLUMNS": "200"}

ASKING = """
name: asker
tools:
  - type: agent_toolset_20260401
    default_config: {permission_policy: {type: always_ask}}
  - type: custom
    name: weather
    description: The weather of a city.
    input_schema: {type: object, properties: {city: {type: string}}}
"""
"""An agent that asks before each call, with a tool of the client."""


class Done:
    """A program that has ended, with what it has printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"

    @property
    def session(self) -> str:
        """The id that the header of `run` tells."""
        return next(line.split()[1] for line in self.out.splitlines() if line.startswith("session "))


@contextlib.asynccontextmanager
async def started(*arguments: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program while it runs; killed at the end of the block if it has not ended."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        HOLDFAST, *arguments, env={**ENVIRON, **environ}, stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def holdfast(*arguments: str, answers: str = "", **environ: str) -> Done:
    """Run it to its end; `answers` is its standard input.

    The wait is also for its pipes, so a process that it left in the background must not hold them.
    """
    async with started(*arguments, **environ) as process:
        out, err = await asyncio.wait_for(process.communicate(answers.encode()), 90)
    assert process.returncode is not None
    done = Done(process.returncode, out.decode(), err.decode())
    assert "Traceback (most" not in done.out + done.err, done
    return done
