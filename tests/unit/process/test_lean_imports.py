"""What is not loaded: each module here costs every process that loads it time at its start, and memory for ever."""

import os
import subprocess
import sys

import pytest

EVERYWHERE = {"rich", "pygments", "cyclopts", "cryptography"}
ELSEWHERE = {
    "session": {"anthropic", "aiohttp", "httpx2", "hvac", "requests"},
    "harness": {"uvicorn", "starlette", "hvac", "requests"},
    "sandbox": {"anthropic", "aiohttp", "httpx2", "uvicorn", "starlette", "hvac", "requests"},
    "vault": {"anthropic", "aiohttp", "httpx2", "uvicorn", "starlette"},
}


RUN = """
import atexit, runpy, sys
atexit.register(lambda: print(*{name.split(".")[0] for name, module in sys.modules.items() if module}))
runpy.run_module(sys.argv[1], run_name="__main__")
"""


@pytest.mark.parametrize("service", ELSEWHERE)
def test_a_service_loads_nothing_that_it_does_not_use(service: str) -> None:
    environ = {"PATH": os.environ["PATH"], "HOLDFAST_X": "an unknown setting ends it once all is loaded"}
    argv = [sys.executable, "-c", RUN, f"holdfast.{service}"]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr[-2000:]
    loaded = set(done.stdout.split())
    assert {"holdfast", "structlog"} <= loaded
    assert loaded & (EVERYWHERE | ELSEWHERE[service]) == set()


def loaded_by(*modules: str) -> set[str]:
    code = f"import sys, {', '.join(modules)}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_the_supervisor_keeps_no_client_of_a_server() -> None:
    loaded = loaded_by("holdfast.cli.main", "holdfast.cli.embedded.up", "holdfast.cli.embedded.detach")
    assert "msgspec" in loaded
    heavy = {"nats", "structlog", "opentelemetry", "anthropic", "httpx2", "cryptography", "uvloop", "markdown_it"}
    assert loaded & heavy == set()


@pytest.mark.parametrize("command", ["env", "down", "logs"])
def test_commands_that_need_the_address_alone_do_not_load_the_sdk(command: str) -> None:
    module = "client.target" if command == "env" else f"embedded.{command}"
    assert "anthropic" not in loaded_by(f"holdfast.cli.{module}")
