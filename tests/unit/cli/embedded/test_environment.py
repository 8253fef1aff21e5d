"""The environment variables that services inherit from `holdfast up`."""

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



def test_services_inherit_no_keys_no_faults_and_no_unknown_variables() -> None:
    environ = {
        "PATH": "/bin",
        "HOME": "/root",
        "ANTHROPIC_API_KEY": "sk-ant-x",
        "ANTHROPIC_BASE_URL": "http://x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "HOLDFAST_API_KEY": "hf_x",
        "HOLDFAST_MODEL_API_KEY": "sk-ant-x",
        "HOLDFAST_MODEL_KEY_FILE": "/k",
        "HOLDFAST_FAULT_HARNESS_1": "x:kill",
        "HOLDFAST_LOG_LEVEL": "debug",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "LD_PRELOAD": "x",
    }
    assert child_environment(environ) == {
        "PATH": "/bin",
        "HOLDFAST_LOG_LEVEL": "debug",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    }
