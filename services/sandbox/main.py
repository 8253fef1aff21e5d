"""The sandbox service: wiring only."""

import asyncio

from holdfast.bus.jetstream.client import connect
from holdfast.process.health import Health
from holdfast.sandbox.drivers import make_driver
from holdfast.sandbox.settings import SandboxSettings
from holdfast.sandbox.worker import WorkerConfig, work


async def main(settings: SandboxSettings, stop: asyncio.Event) -> None:
    """Serve until `stop`."""
    health = Health("sandbox", "bus", "sandbox")
    terms = WorkerConfig(lease=settings.lease, idle_after=settings.idle_after, drain=settings.drain_timeout)
    async with health.serve(settings.health_port):
        bus = await connect(settings, name="sandbox")
        try:
            await work(bus, make_driver(settings), terms, stop, health)
        finally:
            await bus.close()
