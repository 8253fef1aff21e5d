"""The start of a stack: the process that makes the streams, beside small programs in place of the servers."""

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest

from holdfast.bus.errors import BusError
from holdfast.cli.embedded.layout import Layout
from holdfast.cli.embedded.program import NotReady, Program, Readiness
from holdfast.cli.embedded.stack import Stack
from holdfast.cli.embedded.start import start
from holdfast.cli.embedded.supervisor import Supervisor

SLEEP = "import time; time.sleep(600)"


def stack(folder: Path) -> Stack:
    layout = Layout(folder)
    layout.open()
    environ = {"PATH": os.environ["PATH"]}
    return Stack(layout, port=0, harnesses=1, sync="always", scripted=True, environ=environ)


def supervise(folder: Path, code: str, *, is_ready: bool) -> Supervisor:
    """A supervisor with the one program `nats`."""

    async def ready() -> Readiness:
        return Readiness(is_ready)

    argv = [sys.executable, "-c", code]
    nats = Program(name="nats", argv=argv, env={}, log=folder / "nats.log", probe=ready)
    return Supervisor([nats], say=print, changed=lambda: None)


def leaves(exc: BaseException) -> list[BaseException]:
    return (
        [leaf for inner in exc.exceptions for leaf in leaves(inner)] if isinstance(exc, BaseExceptionGroup) else [exc]
    )


async def test_what_the_provisioner_refuses_ends_the_start_with_its_cause(tmp_path: Path) -> None:
    made = stack(tmp_path / "data")
    made.layout.nats_credentials("admin").write_text("no JSON")
    supervisor = supervise(tmp_path, SLEEP, is_ready=True)
    with pytest.raises(BaseExceptionGroup) as raised:
        await asyncio.wait_for(start(supervisor, made), 50)
    await supervisor.stop([])
    (cause,) = leaves(raised.value)
    assert isinstance(cause, BusError)
    assert str(cause).startswith("HOLDFAST_NATS_CREDENTIALS: cannot read user and password from ")
    assert psutil.Process().children() == []


async def test_a_start_that_fails_before_leaves_no_provisioner(tmp_path: Path) -> None:
    supervisor = supervise(tmp_path, "import sys; sys.exit(2)", is_ready=False)
    with pytest.raises(BaseExceptionGroup) as raised:
        await asyncio.wait_for(start(supervisor, stack(tmp_path / "data")), 50)
    await supervisor.stop([])
    assert any(isinstance(leaf, NotReady) for leaf in leaves(raised.value))
    assert psutil.Process().children() == []
