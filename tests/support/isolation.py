"""Which isolation this machine gives to sandboxes; each test process asks once, with a real sandbox.

Tests that make sandboxes depend on the fixture `isolation` (tests/conftest.py): where no sandbox can be made they are
skipped with the cause, and fail with it when HOLDFAST_TEST_SANDBOX=required. Tests of limits that hold for a sandbox as
a whole use the fixture `strong_limits`. Settings of sandboxes come from `sandbox_settings()`, of processes from
`sandbox_environment()`: both consent to weak limits, whatever the environment of the test run says.
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
"""Whether a machine without sandboxes fails the tests that need one; CI sets it, so that nothing is skipped unseen."""


class Isolation(msgspec.Struct, frozen=True):
    """What this machine does not give; each field is empty if it does."""

    unavailable: str = ""
    """Why no sandbox can be made."""
    weak: str = ""
    """Why memory can be limited for each process alone."""
    unheld: str = ""
    """Which limits do not hold for a sandbox as a whole, as `/readyz` tells it."""


def sandbox_settings(**settings: Any) -> SandboxSettings:
    """Settings of a sandbox driver in a test; weak limits are accepted unless the test says otherwise."""
    return SandboxSettings(**{"allow_weak_limits": True, "disk_reserve_bytes": 0, **settings})


def sandbox_environment() -> dict[str, str]:
    """Variables with which a sandbox service, or `holdfast up`, makes sandboxes on this machine."""
    return {"HOLDFAST_ALLOW_WEAK_LIMITS": "true"}


@functools.cache
def isolation() -> Isolation:
    """What this machine gives, found by making one sandbox as the service does."""
    answer: list[Isolation] = []
    # In a thread of its own: the caller may be in an event loop.
    thread = threading.Thread(target=lambda: answer.append(asyncio.run(_ask())))
    thread.start()
    thread.join()
    return answer[0] if answer else Isolation(unavailable="the question itself failed; see the traceback above")


def require_sandbox() -> Isolation:
    """What this machine gives. Skips the test, or fails it when a sandbox is required, where no sandbox can be made."""
    found = isolation()
    if found.unavailable:
        sentence = f"no sandbox can be made here: {found.unavailable}"
        if REQUIRED:
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    return found


async def _ask() -> Isolation:
    with tempfile.TemporaryDirectory(prefix="holdfast-isolation-") as folder:
        driver = make_driver(sandbox_settings(data_dir=str(Path(folder)), memory_bytes=256 * MIB))
        await driver.open(new_id("wrk"))
        try:
            await driver.probe()
            return Isolation(weak=hierarchy.find().cause, unheld=driver.weak_limits)
        except SandboxUnavailable as exc:
            return Isolation(unavailable=str(exc))
        finally:
            await driver.close()
