"""Wiring of the session service."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.bus.jetstream.readiness import watch_bus
from holdfast.process import clock, metering, metrics
from holdfast.process.backoff import Backoff
from holdfast.process.descriptors import raise_descriptor_limit
from holdfast.process.health import Health
from holdfast.process.model_catalogue import load_catalogue
from holdfast.process.settings import BadSettings
from holdfast.process.supervision import supervised
from holdfast.session.agents.store import AgentStore
from holdfast.session.api_keys.store import ApiKeyStore
from holdfast.session.audit.log import AuditLog
from holdfast.session.endpoints import all_routes
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.events.disk_space import DiskSpaceCheck
from holdfast.session.events.open_streams import OpenStreams
from holdfast.session.http import api_keys
from holdfast.session.http.api_keys import ApiKeys
from holdfast.session.http.app import Edge
from holdfast.session.http.hosts import HostCheck
from holdfast.session.http.request_limits import RequestLimits
from holdfast.session.http.routing import Route
from holdfast.session.http.server import serve
from holdfast.session.jobs.bus_gauges import BusGauges
from holdfast.session.jobs.eraser import Eraser
from holdfast.session.jobs.file_parts import FileParts
from holdfast.session.jobs.projector import project
from holdfast.session.jobs.publisher import Publisher
from holdfast.session.jobs.replica_watch import ReplicaWatch
from holdfast.session.jobs.sweeper import sweep
from holdfast.session.jobs.webhooks import Webhooks
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.repository import SessionRepository
from holdfast.session.settings import SessionSettings
from holdfast.session.storage.kv_store import KvStore
from holdfast.session.tasks.wiring import TaskParts
from holdfast.session.vaults.client import VaultClient
from holdfast.session.webhooks.attempt import Attempts
from holdfast.session.webhooks.routes import WebhookHandlers
from holdfast.session.webhooks.runner import Rules
from holdfast.session.webhooks.secrets import WebhookSecrets
from holdfast.session.webhooks.store import WebhookStore

FIRST_TENANT: Final = "default"
"""The tenant of the API key in HOLDFAST_API_KEY_FILE."""

WATCH_VALID_S: Final = 60.0
"""Seconds after which what a watch has told is too old. A watch compares itself with its bucket each 10 s, and repeats
a read that fails for 15 s."""

RESERVED_DESCRIPTORS: Final = 500
"""Descriptors that are kept for connections without an event stream, and for files."""

_log = structlog.get_logger()


Watches = Mapping[str, ApiKeys | KvStore[Any]]
"""What is followed in memory, by the name of its check."""


async def main(settings: SessionSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then drain."""
    models = load_catalogue(settings.models_file)
    bus = await connect(settings, name="session", cells=settings.cells)
    health = Health("session", "bus", "keys", "agents", "environments", "files", "file-contents", "edge")
    keys, agents, environments = ApiKeys(bus.kv), AgentStore(bus.kv), EnvironmentStore(bus.kv)
    audit = AuditLog(bus.kv, clock.now)
    read_model = ReadModel(_read_model(settings), settings.cells)
    sessions = _sessions(bus, read_model, settings)
    vaults, disk = VaultClient(bus.core), DiskSpaceCheck(settings.disk_folder)
    parts = TaskParts.of(bus.tasks, sessions, agents, environments, vaults=vaults, disk=disk, stopping=stop)
    files = FileParts.of(bus.kv, bus.file_chunks, settings, disk, clock.now)
    webhooks, attempts, webhook_handlers = _webhooks(bus, vaults, settings)
    try:
        await _install_first_key(bus, settings)
        streams = OpenStreams(_max_streams(settings))
        routes = all_routes(
            sessions=sessions,
            agents=agents,
            environments=environments,
            vaults=vaults,
            webhooks=webhook_handlers,
            api_keys=ApiKeyStore(bus.kv, audit, clock.now),
            audit=audit,
            models=models,
            tasks=parts,
            files=files,
            health=health,
            now=clock.now,
            streams=streams,
            stopping=stop,
        )
        metering.observe_number(metrics.STREAMS, lambda: streams.count)
        edge = _edge(routes, keys, settings, disk)
        async with health.serve(settings.health_port, settings.health_host), asyncio.TaskGroup() as tasks:
            watched: Watches = {
                "keys": keys,
                "agents": agents.objects,
                "environments": environments.objects,
                "files": files.store.objects,
                "file-contents": files.contents.objects,
            }
            background = _begin(tasks, health, _follow(watched, health))
            for watch in watched.values():
                await watch.ready()
            duties = _duties(bus, health, sessions, settings.disk_folder)
            duties["file-sweeper"] = files.sweeper.run
            duties |= _webhook_duties(bus, webhooks, attempts, settings) | parts.duties(bus.task_requests, stop)
            background += _begin(tasks, health, duties)
            await _serve(edge, settings, health, stop)
            for task in background:
                task.cancel()
    finally:
        sessions.read_model.close()
        await bus.close()


def _sessions(bus: NatsBus, read_model: ReadModel, settings: SessionSettings) -> SessionRepository:
    turns = settings.tenant_running_turns
    return SessionRepository(bus, read_model, cells=settings.cells, now=clock.now, running_turns=turns)


def _edge(routes: Sequence[Route], keys: ApiKeys, settings: SessionSettings, disk: DiskSpaceCheck) -> Edge:
    return Edge(
        routes,
        keys,
        body_limit=settings.body_limit,
        body_timeout=settings.body_timeout,
        hosts=HostCheck([settings.host, *settings.hosts.split(",")]),
        admit=disk.check,
        limits=RequestLimits(per_key=settings.key_requests_per_s, per_tenant=settings.tenant_requests_per_s),
    )


async def _serve(edge: Edge, settings: SessionSettings, health: Health, stop: asyncio.Event) -> None:
    await serve(
        edge,
        host=settings.host,
        port=settings.port,
        head_timeout=settings.head_timeout,
        send_timeout=settings.send_timeout,
        drain_timeout=settings.drain_timeout,
        health=health,
        stop=stop,
    )


Duty = Callable[[], Awaitable[object]]


def _begin(tasks: asyncio.TaskGroup, health: Health, duties: Mapping[str, Duty]) -> list[asyncio.Task[None]]:
    """Run each duty in a task of its own, which begins it again after a failure."""
    return [tasks.create_task(supervised(duty, health.note, name=name), name=name) for name, duty in duties.items()]


def _follow(watched: Watches, health: Health) -> dict[str, Duty]:
    """The duties that keep keys, agents and environments current; the check of each is true while it does."""
    return {
        name: partial(watch.follow, partial(health.set, name, True, valid_s=WATCH_VALID_S))
        for name, watch in watched.items()
    }


def _duties(bus: NatsBus, health: Health, sessions: SessionRepository, disk_folder: str) -> dict[str, Duty]:
    """The duties that begin when keys, agents and environments are known."""
    watches = {f"replicas-{cell}": ReplicaWatch(bus, cell, claims).run for cell, claims in sessions.claims.items()}
    tables = sessions.read_model.tables
    publishers = {
        f"public-events-{cell}": Publisher(bus, bus.public, cell, partial(tables.position, cell)).run
        for cell in sessions.cells
    }
    counting = {"gauges": BusGauges(bus, sessions, sessions.cells, clock.now).run} if metering.is_on() else {}
    return {
        "bus": partial(watch_bus, bus, health),
        "projector": partial(project, sessions),
        "sweeper": partial(sweep, sessions),
        "eraser": Eraser(sessions, disk_folder, bus.public).run,
        **watches,
        **publishers,
        **counting,
    }


def _webhooks(
    bus: NatsBus, vaults: VaultClient, settings: SessionSettings
) -> tuple[WebhookStore, Attempts, WebhookHandlers]:
    """What keeps webhooks, what sends them, and the handlers of their resource."""
    hosts, secrets = settings.named_hosts, WebhookSecrets(vaults)
    store, attempts = WebhookStore(bus.kv, hosts), Attempts(secrets, hosts, settings.webhook_timeout, clock.now)
    handlers = WebhookHandlers(
        store, secrets, attempts, public=bus.public, reads=bus.public_reads, cells=settings.cells, now=clock.now
    )
    return store, attempts, handlers


def _webhook_duties(
    bus: NatsBus, store: WebhookStore, attempts: Attempts, settings: SessionSettings
) -> dict[str, Duty]:
    """The duties that know the webhooks and send them. The service is ready without them."""
    backoff = Backoff(first_s=settings.webhook_retry_first, longest_s=settings.webhook_retry_most)
    rules = Rules(backoff=backoff, disable_after_s=settings.webhook_disable_after)
    senders = {
        f"webhooks-{cell}": Webhooks(
            bus.kv, bus.public_reads, store, attempts, rules=rules, now=clock.now, cell=cell
        ).run
        for cell in settings.cells
    }
    return {"webhooks": store.objects.follow, **senders}


def _max_streams(settings: SessionSettings) -> int:
    """Event streams that may be open at once: each needs a descriptor, and so does every other request."""
    descriptors = raise_descriptor_limit()
    limit = max(1, min(settings.max_streams, descriptors - RESERVED_DESCRIPTORS))
    if limit < settings.max_streams:
        _log.warning("fewer event streams than HOLDFAST_MAX_STREAMS", limit=limit, descriptors=descriptors)
    return limit


def _read_model(settings: SessionSettings) -> Path | None:
    return Path(settings.session_data) / "sessions.sqlite" if settings.session_data else None


async def _install_first_key(bus: NatsBus, settings: SessionSettings) -> None:
    path = settings.api_key_file
    if not path:
        return
    try:
        key = Path(path).read_text().strip()  # noqa: ASYNC240  a few bytes, once, before anything is served
        outcome = await api_keys.install_first(bus.kv, key, tenant=FIRST_TENANT, now=clock.now())
    except (OSError, ValueError) as exc:
        raise BadSettings(f"HOLDFAST_API_KEY_FILE: {type(exc).__name__} at {path}") from None
    if outcome in ("revoked", "removed"):
        _log.warning("the key in HOLDFAST_API_KEY_FILE is not valid any more", outcome=outcome)
    else:
        _log.info("first API key", outcome=outcome)
