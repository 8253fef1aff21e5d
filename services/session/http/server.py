"""The listening socket and uvicorn around the edge, from the first connection to the end of the drain."""

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Final

import structlog
import uvicorn

from holdfast.process.health import Health
from holdfast.process.settings import BadSettings
from holdfast.session.http.app import Edge
from holdfast.session.http.protocol import Connection
from holdfast.session.settings import SessionSettings

KEEP_ALIVE: Final = 75
"""Seconds an unused connection stays open. Longer than clients keep theirs (httpx: 5 s), so that they close it: when we
do, a request may be on its way, and the SDK would send it again although it cannot know that it was not carried out."""

BACKLOG: Final = 2048
"""Connections that may wait to be accepted."""

_log = structlog.get_logger()


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handling: the lifecycle of the process decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve(edge: Edge, settings: SessionSettings, health: Health, stop: asyncio.Event) -> None:
    """Listen until `stop`; then no new connections, and what is in hand has the drain time to finish."""
    config = uvicorn.Config(
        edge,
        http=Connection,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, int(settings.drain_timeout) - 1),
    )
    server = _Server(config)
    listener = _listen(settings)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="edge")
    stopping = asyncio.create_task(stop.wait(), name="edge-stop")
    try:
        _log.info("listening", host=settings.host, port=listener.getsockname()[1])
        health.set("edge", ok=True)
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        health.stop()
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        serving.cancel()


def _listen(settings: SessionSettings) -> socket.socket:
    """Bound here and not by uvicorn, which would end the process by itself when the port is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as exc:
        raise BadSettings(f"HOLDFAST_HOST, HOLDFAST_PORT: cannot listen: {exc.strerror}") from None
