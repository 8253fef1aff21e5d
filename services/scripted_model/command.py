"""`holdfast scripted-model`: run the scripted model until it is stopped."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Annotated, Final

import uvloop
from cyclopts import Parameter

from holdfast.scripted_model.http import Connection
from holdfast.scripted_model.scenario import BadScenario, Scenario, Script, load
from holdfast.scripted_model.server import Server

BACKLOG: Final = 1024
"""Connections that may wait to be accepted."""

Scenarios = Annotated[
    list[Path], Parameter(name="--scenario", negative=(), help="Scenario file or directory; may be repeated.")
]


def scripted_model(
    *,
    scenario: Scenarios | None = None,
    port: Annotated[int, Parameter(help="Loopback port; 0: a free one.")] = 0,
    key: Annotated[str, Parameter(help="The only API key it takes; empty: any.")] = "",
    record: Annotated[
        Path | None, Parameter(help="Append every request and its times to this file, one a line.")
    ] = None,
    bench: Annotated[bool, Parameter(negative=(), help="Check nothing and keep no bodies.")] = False,
) -> None:
    """Listen until stopped. The text of --help is in the package."""
    scenarios: dict[str, Scenario] = {}
    try:
        for path in scenario or []:
            scenarios |= load(path)
        server = Server(Script(scenarios), key=key, record=record, bench=bench)
    except BadScenario as exc:
        raise SystemExit(f"holdfast scripted-model: cannot read the scenario: {exc}") from None
    except OSError as exc:
        raise SystemExit(f"holdfast scripted-model: cannot write {record}: {os.strerror(exc.errno or 0)}") from None
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_listen(server, port))
    except OSError as exc:
        raise SystemExit(
            f"holdfast scripted-model: cannot listen on port {port}: {os.strerror(exc.errno or 0)}"
        ) from None


async def _listen(server: Server, port: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = await loop.create_server(lambda: Connection(server.serve), "127.0.0.1", port, backlog=BACKLOG)
    print(json.dumps({"base_url": f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"}), flush=True)
    await stop.wait()
    listener.close()
