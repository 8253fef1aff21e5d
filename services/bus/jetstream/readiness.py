"""The check `bus` of `/readyz`: whether the bus answers now, not whether it once did."""

import asyncio
import time
from typing import Final

from holdfast.bus.jetstream.client import NatsBus
from holdfast.process import metering, metrics
from holdfast.process.health import Health

BUS_CHECK_INTERVAL_S: Final = 0.5
"""Seconds between two looks at the connection."""

LOOKS_PER_REQUEST: Final = 4
"""Looks at the connection for each request: 2 s apart, so that a thousand processes cost the bus little."""

BUS_CHECK_VALID_S: Final = 10.0
"""Seconds after which a result is too old: several times the interval and the timeout of the request."""


async def watch_bus(bus: NatsBus, health: Health) -> None:
    """Set the check `bus` of the health report until cancelled.

    Not ready without a connection: another replica may still reach the bus. Not ready either if the server is connected
    and does not answer, as one that is frozen, or whose streams have no leader.
    """
    answers = False
    looks = 0
    while True:
        if not bus.connected:
            answers, looks = False, 0
        elif looks % LOOKS_PER_REQUEST == 0 or not answers:
            asked_at = time.perf_counter()
            answers = await bus.answers()
            if answers:
                metering.record(metrics.BUS_ROUND_TRIP, time.perf_counter() - asked_at)
        looks += 1
        health.set("bus", answers, valid_s=BUS_CHECK_VALID_S)
        await asyncio.sleep(BUS_CHECK_INTERVAL_S)
