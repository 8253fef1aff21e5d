"""Wiring of the session service."""

import asyncio
from pathlib import Path
from typing import Any, Final

import structlog

from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.process.health import Health
from holdfast.process.settings import BadSettings
from holdfast.session.agents.store import AgentStore
from holdfast.session.context import Context
from holdfast.session.endpoints import all_routes
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.http import api_keys, timestamps
from holdfast.session.http.api_keys import Keys
from holdfast.session.http.app import Edge
from holdfast.session.http.server import serve
from holdfast.session.jobs.projector import follow
from holdfast.session.jobs.sweeper import sweep
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.repository import SessionRepository
from holdfast.session.settings import SessionSettings
from holdfast.session.storage.kv_store import KvStore

FIRST_TENANT: Final = "default"
"""Whose the key of HOLDFAST_API_KEY_FILE is."""

_LOOK: Final = 0.5
"""Seconds between two looks at the connection."""

_log = structlog.get_logger()


async def main(settings: SessionSettings, stop: asyncio.Event) -> None:
    bus = await connect(settings, name="session")
    health = Health("session", "bus", "keys", "agents", "environments", "edge")
    agent_store, environment_store = AgentStore(bus.kv), EnvironmentStore(bus.kv)
    context = Context(
        bus=bus,
        settings=settings,
        now=timestamps.now,
        stopping=stop,
        agents=agent_store,
        environments=environment_store,
    )
    known = Keys(bus.kv)
    ledger = SessionRepository(context, ReadModel(_read_model(settings)))
    try:
        await _install_first_key(context)
        edge = Edge(all_routes(context, ledger, health), known, settings)
        async with health.serve(settings.health_port), asyncio.TaskGroup() as tasks:
            followed: dict[str, Keys | KvStore[Any]] = {
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
            await serve(edge, settings, health, stop)
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


async def _install_first_key(context: Context) -> None:
    path = context.settings.api_key_file
    if not path:
        return
    try:
        key = Path(path).read_text().strip()  # noqa: ASYNC240  a few bytes, once, before anything is served
        installed = await api_keys.install(context.bus.kv, key, tenant=FIRST_TENANT, name="first", now=context.now())
    except (OSError, ValueError) as exc:
        raise BadSettings(f"HOLDFAST_API_KEY_FILE: {type(exc).__name__} at {path}") from None
    _log.info("first API key", installed=installed)
