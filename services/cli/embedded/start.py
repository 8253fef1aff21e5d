"""Starts the programs of a stack, provisions the bus and marks OpenBao as initialised in between."""

import asyncio
from typing import Final

from holdfast.bus.errors import BusError
from holdfast.cli.embedded import log_tail, openbao
from holdfast.cli.embedded.child import Child
from holdfast.cli.embedded.stack import PROVISIONED, Stack
from holdfast.cli.embedded.supervisor import Supervisor

START_TIMEOUT_S: Final = 60.0
"""Seconds until everything must be ready. Long, because a slow disk or a busy machine is no reason to give up."""


async def start(supervisor: Supervisor, stack: Stack) -> None:
    """Start all programs, make the streams and buckets; returns when all are ready. Raises an exception group."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_provision(supervisor, stack))
        tasks.create_task(_mark_initialised(supervisor, stack))
        await supervisor.start(START_TIMEOUT_S)


async def _provision(supervisor: Supervisor, stack: Stack) -> None:
    """Run the provisioner to its end. Raises BusError with the cause that it has printed."""
    program = stack.provisioner()
    child = Child.execute(program, {}, waits=True)
    try:
        await supervisor.wait_for(*program.needs)
        child.go()
        await child.ended.wait()
    finally:
        await child.stop(program.stop_timeout, asyncio.Event())
    if not child.is_done:
        cause = log_tail.cause(program.name, program.log, child.log_offset)
        raise BusError(cause.removeprefix("provision: ") or child.outcome)
    supervisor.reached(PROVISIONED)


async def _mark_initialised(supervisor: Supervisor, stack: Stack) -> None:
    await supervisor.wait_for("vault")
    openbao.mark_initialised(stack.layout)
