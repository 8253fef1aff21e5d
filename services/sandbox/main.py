"""The sandbox service: wiring only."""

import asyncio

from holdfast.bus.jetstream.client import connect
from holdfast.process.health import Health
from holdfast.sandbox.drivers import make_driver
from holdfast.sandbox.drivers.choice import chosen
from holdfast.sandbox.settings import SandboxSettings
from holdfast.sandbox.worker import WorkerConfig, work


async def main(settings: SandboxSettings, stop: asyncio.Event) -> None:
    """Serve until `stop`."""
    health = Health("sandbox", "bus", "sandbox")
    config = WorkerConfig(
        cell=settings.cell,
        lease_s=settings.lease,
        idle_after_s=settings.idle_after,
        drain_s=settings.drain_timeout,
        max_sandboxes=settings.max_sandboxes,
        probe_interval_s=settings.probe_interval,
        egress=settings.egress == "on",
    )
    async with health.serve(settings.health_port, settings.health_host):
        bus = await connect(settings, name="sandbox", own_account=True)
        try:
            await work(bus, make_driver(await chosen(settings)), config, stop, health)
        finally:
            await bus.close()
