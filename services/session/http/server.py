"""The listening socket and the uvicorn server that runs the edge, until the drain has ended."""

import asyncio
import contextlib
import socket
from collections.abc import Generator
from functools import partial
from typing import Final

import structlog
import uvicorn

from holdfast.process.health import Health
from holdfast.process.settings import BadSettings
from holdfast.session.http.app import Edge
from holdfast.session.http.protocol import BoundedHttpProtocol

IDLE_CONNECTION_S: Final = 75
"""Seconds after which an unused connection is closed. Clients must close first (httpx: after 5 s): if the edge does, a
request may be on its way, and the SDK would send it again although it cannot know whether it was carried out."""

ACCEPT_BACKLOG_CONNECTIONS: Final = 2048
"""Connections that may wait to be accepted."""

_log = structlog.get_logger()


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handling: the lifecycle of the process decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve(
    edge: Edge,
    *,
    host: str,
    port: int,
    head_timeout: float,
    send_timeout: float,
    drain_timeout: float,
    health: Health,
    stop: asyncio.Event,
) -> None:
    """Listen until `stop` is set. Then accept no more connections and give open requests `drain_timeout` seconds.

    `head_timeout` and `send_timeout` as in BoundedHttpProtocol.

    Raises BadSettings when the address cannot be listened on.
    """
    config = uvicorn.Config(
        edge,
        http=partial(  # pyright: ignore[reportArgumentType]  uvicorn calls it, whatever it is
            BoundedHttpProtocol, head_timeout=head_timeout, send_timeout=send_timeout
        ),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_CONNECTION_S,
        timeout_graceful_shutdown=max(1, int(drain_timeout) - 1),
    )
    server = _Server(config)
    listener = _listen(host, port)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="edge")
    stopping = asyncio.create_task(stop.wait(), name="edge-stop")
    try:
        _log.info("listening", host=host, port=listener.getsockname()[1])
        health.set("edge", ok=True)
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        health.stop()
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        serving.cancel()


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket. Uvicorn is not left to bind it: it would end the process by itself when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=ACCEPT_BACKLOG_CONNECTIONS)
    except OSError as exc:
        raise BadSettings(f"HOLDFAST_HOST, HOLDFAST_PORT: cannot listen: {exc.strerror}") from None
