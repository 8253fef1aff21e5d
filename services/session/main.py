"""Wiring of the session service."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn

from services.bus.client import NatsBus, connect
from services.process.health import Health
from services.process.settings import BadSettings
from services.session import (
    agents,
    credentials,
    environments,
    events,
    keys,
    openapi,
    probes,
    sessions,
    stream,
    times,
    vaults,
)
from services.session.agent_store import AgentStore
from services.session.connection import Connection
from services.session.context import Context
from services.session.edge import Edge
from services.session.environment_store import EnvironmentStore
from services.session.follower import follow
from services.session.keys import Keys
from services.session.ledger import Ledger
from services.session.readmodel import ReadModel
from services.session.routes import Route
from services.session.settings import SessionSettings
from services.session.shelf import Shelf
from services.session.sweeper import sweep

FIRST_TENANT: Final = "default"
"""Whose the key of HOLDFAST_API_KEY_FILE is."""

KEEP_ALIVE: Final = 75
"""Seconds an unused connection stays open. Longer than clients keep theirs (httpx: 5 s), so that they close it: when we
do, a request may be on its way, and the SDK would send it again although it cannot know that it was not carried out."""

_LOOK: Final = 0.5
"""Seconds between two looks at the connection."""

_log = structlog.get_logger()


def all_routes(context: Context, ledger: Ledger, health: Health) -> list[Route]:
    """Everything the edge serves; a new noun is one module and one line here."""
    described = [*probes.routes(health), *_nouns(context), *_of_sessions(ledger)]
    return [*described, *openapi.routes(described)]


def _nouns(context: Context) -> list[Route]:
    modules: list[Callable[[Context], list[Route]]] = [
        agents.routes,
        environments.routes,
        vaults.routes,
        credentials.routes,
    ]
    return [route for routes in modules for route in routes(context)]


def _of_sessions(ledger: Ledger) -> list[Route]:
    modules: list[Callable[[Ledger], list[Route]]] = [sessions.routes, events.routes, stream.routes]
    return [route for routes in modules for route in routes(ledger)]


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handling: the lifecycle of the process decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def main(settings: SessionSettings, stop: asyncio.Event) -> None:
    bus = await connect(settings, name="session")
    health = Health("session", "bus", "keys", "agents", "environments", "edge")
    agent_store, environment_store = AgentStore(bus), EnvironmentStore(bus)
    context = Context(
        bus=bus, settings=settings, now=times.now, stopping=stop, agents=agent_store, environments=environment_store
    )
    known = Keys(bus)
    ledger = Ledger(context, ReadModel(_read_model(settings)))
    try:
        await _install_first_key(context)
        edge = Edge(all_routes(context, ledger, health), known, settings)
        async with health.serve(settings.health_port), asyncio.TaskGroup() as tasks:
            followed: dict[str, Keys | Shelf[Any]] = {
                "keys": known,
                "agents": agent_store.shelf,
                "environments": environment_store.shelf,
            }
            following = [tasks.create_task(one.follow(), name=name) for name, one in followed.items()]
            for name, one in followed.items():
                await one.ready()
                health.set(name, ok=True)
            following.append(tasks.create_task(_watch_bus(bus, health), name="bus"))
            following.append(tasks.create_task(follow(ledger), name="read-model"))
            following.append(tasks.create_task(sweep(ledger), name="sweeper"))
            await _serve(edge, settings, health, stop)
            for task in following:
                task.cancel()
    finally:
        ledger.model.close()
        await bus.close()


def _read_model(settings: SessionSettings) -> Path | None:
    return Path(settings.session_data) / "sessions.sqlite" if settings.session_data else None


async def _watch_bus(bus: NatsBus, health: Health) -> None:
    """Not ready while the connection is down: another replica may still reach the bus."""
    while True:
        health.set("bus", ok=bus.connected)
        await asyncio.sleep(_LOOK)


async def _serve(edge: Edge, settings: SessionSettings, health: Health, stop: asyncio.Event) -> None:
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
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as exc:
        raise BadSettings(f"HOLDFAST_HOST, HOLDFAST_PORT: cannot listen: {exc.strerror}") from None


async def _install_first_key(context: Context) -> None:
    path = context.settings.api_key_file
    if not path:
        return
    try:
        key = Path(path).read_text().strip()  # noqa: ASYNC240  a few bytes, once, before anything is served
        installed = await keys.install(context.bus, key, tenant=FIRST_TENANT, name="first", now=context.now())
    except (OSError, ValueError) as exc:
        raise BadSettings(f"HOLDFAST_API_KEY_FILE: {type(exc).__name__} at {path}") from None
    _log.info("first API key", installed=installed)
