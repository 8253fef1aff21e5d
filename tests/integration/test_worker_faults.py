"""A fault of one session, or of one duty, ends neither the worker nor the hands of other sessions (issue 8 B, P2)."""

import asyncio
import errno

from holdfast.bus.ids import Key, new_session_id
from holdfast.sandbox.drivers import SandboxUnavailable
from holdfast.sandbox.drivers.hand_spec import HandSpec
from holdfast.testing.contracts.fixtures import Connect
from holdfast.testing.contracts.hands import HandSession
from tests.support.both_buses import bus, joined, key, nats
from tests.support.clock import Clock, ClockDriver, hand_worker
from tests.support.clock_tools import CLOCK, clock_tools
from tests.support.eventually import eventually

__all__ = ["bus", "joined", "key", "nats"]


class FaultyDriver(ClockDriver):
    """A driver whose host has faults. Errors of a full or broken disk, and one that nobody expects."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: dict[Key, Exception] = {}
        """Sessions whose clocks cannot be made."""
        self.collected = asyncio.Event()
        self.probes = 0
        self.opened = 0

    async def open(self, worker: str) -> None:
        self.opened += 1
        if self.opened == 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    async def create(self, spec: HandSpec) -> Clock:
        if spec.key in self.broken:
            raise self.broken[spec.key]
        return await super().create(spec)

    async def collect(self) -> list[str]:
        self.collected.set()
        raise OSError(errno.EIO, "Input/output error")

    async def probe(self) -> None:
        self.probes += 1
        if self.probes == 1:
            raise OSError(errno.ENOSPC, "No space left on device")


async def test_faults_of_a_host_end_no_hand_of_another_session(joined: Connect) -> None:
    driver = FaultyDriver()
    with clock_tools():
        async with hand_worker(await joined("clock"), driver) as report:
            one = HandSession(await joined("one"), Key("default", new_session_id()), CLOCK)
            await one.begin()
            bound = await one.bind()
            for error, said in (
                (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
                (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
                (KeyError("a bug"), "KeyError"),
            ):
                other = HandSession(await joined("other"), Key("default", new_session_id()), CLOCK)
                driver.broken[other.key] = error
                await other.begin()
                refused = await other.provision()
                assert (refused.error, refused.generation) == ("sandbox_unavailable", "")
                assert said in refused.message
                del driver.broken[other.key]
                assert (await other.bind()).worker == bound.worker, "the same worker serves on"
            await asyncio.wait_for(driver.collected.wait(), 20)

            async def noted() -> bool:
                return "report_dead_workers" in str(report.notes)

            await eventually(noted, what="the failed duty is told")
            assert await _alive(one)
    assert driver.probes > 1


class WorseningDriver(ClockDriver):
    """A driver whose host can make no sandboxes while there is a `fault`."""

    fault: Exception | None = None

    async def probe(self) -> None:
        if self.fault:
            raise self.fault


async def test_an_idle_worker_notices_that_its_host_got_worse_and_better(joined: Connect) -> None:
    driver = WorseningDriver()
    with clock_tools():
        async with hand_worker(await joined("clock"), driver, probe_interval_s=0.05) as report:
            for fault in (
                SandboxUnavailable("the control groups are gone"),
                None,
                OSError(errno.EMFILE, "Too many open files"),
                None,
                RuntimeError("a bug"),
                None,
            ):
                driver.fault = fault

                async def said(ok: bool = not fault) -> bool:
                    return report.checks["sandbox"] is ok

                await eventually(said, what=f"the check sandbox after {fault or 'the repair'!r}")


async def _alive(session: HandSession) -> bool:
    """Whether the session's first hand still runs calls."""
    return await session.probe() == "accepted"
