"""Runs the scripted model on a port until a signal ends it."""

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop

from holdfast.scripted_model.http import Connection
from holdfast.scripted_model.scenario import BadScenario, Scenario, Script
from holdfast.scripted_model.scenario_files import load
from holdfast.scripted_model.server import Server

BACKLOG_CONNECTIONS: Final = 1024
"""Connections that may wait to be accepted."""


class CannotListen(Exception):
    """The server did not start; the text says why."""


def run(files: Sequence[Path], *, port: int, key: str, record: Path | None, bench: bool) -> None:
    """Print one line of JSON with the `base_url`, and serve until SIGTERM or SIGINT. Raises CannotListen.

    The arguments are those of `holdfast scripted-model`.
    """
    scenarios: dict[str, Scenario] = {}
    try:
        for path in files:
            scenarios |= load(path)
        server = Server(Script(scenarios), key=key, record=record, bench=bench)
    except BadScenario as exc:
        raise CannotListen(f"cannot read the scenario: {exc}") from None
    except OSError as exc:
        raise CannotListen(f"cannot write {record}: {os.strerror(exc.errno or 0)}") from None
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_listen(server, port))
    except OSError as exc:
        raise CannotListen(f"cannot listen on port {port}: {os.strerror(exc.errno or 0)}") from None


async def _listen(server: Server, port: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = await loop.create_server(
        lambda: Connection(server.serve), "127.0.0.1", port, backlog=BACKLOG_CONNECTIONS
    )
    print(json.dumps({"base_url": f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"}), flush=True)
    await stop.wait()
    listener.close()
