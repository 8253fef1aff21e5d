"""Why a port cannot be used."""

import asyncio
import os
import socket
from pathlib import Path
import msgspec
import pytest
from msgspec.structs import replace
from holdfast.cli.embedded.environment import child_environment
from holdfast.cli.embedded.layout import MAX_LOG_BYTES, BadFolder, Busy, Layout, write_private
from holdfast.cli.embedded.ports import why_not
from holdfast.cli.embedded.probes import nats_ready, readiness
from holdfast.cli.embedded.program import Readiness
from holdfast.cli.embedded.runfile import RunFile, read, running, write
from holdfast.cli.embedded.stack import Stack
from holdfast.process.health import Check, Report



def test_the_cause_says_why_a_port_cannot_be_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert "in use by another process" in why_not(other.getsockname()[1])
    assert why_not(0) == ""
