"""Starts the programs of a stack, provisions the bus and marks OpenBao as initialised in between."""

import asyncio
from typing import Final

from holdfast.bus.ids import FIRST_CELL
from holdfast.bus.jetstream.provision import provision
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.cli.embedded import openbao
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
    await supervisor.wait_for("nats")
    link = JetStreamClient()
    login = ("admin", stack.layout.nats_password("admin"))
    await link.open([stack.nats_url], name="provision", login=login)
    try:
        await provision(link, FIRST_CELL)
    finally:
        await link.close()
    supervisor.reached(PROVISIONED)


async def _mark_initialised(supervisor: Supervisor, stack: Stack) -> None:
    await supervisor.wait_for("vault")
    openbao.mark_initialised(stack.layout)
