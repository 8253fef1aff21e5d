"""How well this machine can isolate a sandbox. Each test process finds out once, by making a real sandbox.

Tests that make sandboxes use the fixture `isolation` (tests/conftest.py). On a machine that cannot make sandboxes they
are skipped with the cause; with HOLDFAST_TEST_SANDBOX=required they fail. Tests of limits on a sandbox as a whole use
the fixture `strong_limits`. Drivers in tests get their settings from `sandbox_settings()`, services from
`sandbox_environment()`. Both allow weak limits, independently of the environment of the test run.
"""

import asyncio
import functools
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from holdfast.bus.ids import new_id
from holdfast.sandbox.drivers import SandboxUnavailable, make_driver
from holdfast.sandbox.drivers.bubblewrap import hierarchy
from holdfast.sandbox.settings import MIB, SandboxSettings

REQUIRED: Final = os.environ.get("HOLDFAST_TEST_SANDBOX") == "required"
"""Whether tests fail, and are not skipped, on a machine that cannot make sandboxes. CI sets it."""


class Isolation(msgspec.Struct, frozen=True):
    """What this machine lacks for full isolation, as sentences. An empty field means that nothing is lacking."""

    unavailable: str = ""
    """Why no sandbox can be made."""
    weak: str = ""
    """Why memory can be limited only per process, and not for a sandbox as a whole."""
    weak_limits: str = ""
    """Which limits do not hold for a sandbox as a whole, in the words of `/readyz`."""


def sandbox_settings(**settings: Any) -> SandboxSettings:
    """Settings of a sandbox driver in a test. Weak limits are allowed unless `settings` forbid them."""
    return SandboxSettings(**{"allow_weak_limits": True, "disk_reserve_bytes": 0, **settings})


def sandbox_environment() -> dict[str, str]:
    """Environment variables with which the sandbox service and `holdfast up` allow weak limits."""
    return {"HOLDFAST_ALLOW_WEAK_LIMITS": "true"}


@functools.cache
def isolation() -> Isolation:
    """What this machine lacks, found by making one sandbox as the service does."""
    found: list[Isolation] = []
    # In a thread of its own, because the caller may be in an event loop.
    thread = threading.Thread(target=lambda: found.append(asyncio.run(_probe())))
    thread.start()
    thread.join()
    return found[0] if found else Isolation(unavailable="the probe raised an unexpected error; see the traceback above")


def require_sandbox() -> Isolation:
    """What this machine lacks. Skips the test if no sandbox can be made, or fails it if REQUIRED."""
    found = isolation()
    if found.unavailable:
        sentence = f"no sandbox can be made here: {found.unavailable}"
        if REQUIRED:
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    return found


async def _probe() -> Isolation:
    with tempfile.TemporaryDirectory(prefix="holdfast-isolation-") as folder:
        driver = make_driver(sandbox_settings(data_dir=str(Path(folder)), memory_bytes=256 * MIB))
        await driver.open(new_id("wrk"))
        try:
            await driver.probe()
            return Isolation(weak=hierarchy.find().cause, weak_limits=driver.weak_limits)
        except SandboxUnavailable as exc:
            return Isolation(unavailable=str(exc))
        finally:
            await driver.close()
