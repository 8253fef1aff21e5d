"""The harness process: wiring only."""

import asyncio
import os
import socket
import time
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from holdfast.bus.jetstream.client import connect
from holdfast.harness.models import MODELS, Endpoint
from holdfast.harness.models.observed import ObservedModel
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.dispatch import Dispatcher
from holdfast.process.health import Health
from holdfast.process.settings import BadSettings

log = structlog.get_logger()


def now() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1000


def endpoint(settings: HarnessSettings) -> Endpoint:
    """Where the model is, with its key. Raises BadSettings: no usable address, or the key file cannot be read."""
    check_address(settings.model_base_url)
    try:
        key = Path(settings.model_key_file).read_text().strip() if settings.model_key_file else ""
    except OSError:
        raise BadSettings(f"HOLDFAST_MODEL_KEY_FILE: cannot read {settings.model_key_file}") from None
    return Endpoint(base_url=settings.model_base_url, key=key, silence=settings.model_silence)


def check_address(url: str) -> None:
    """Raises BadSettings for an address that no request can be sent to."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of range, or a broken IPv6 address
        usable, parts = False, urlsplit("")
    if not usable:
        raise BadSettings("HOLDFAST_MODEL_BASE_URL: must be an address such as https://api.anthropic.com")
    if parts.username is not None or parts.password is not None:
        raise BadSettings("HOLDFAST_MODEL_BASE_URL: must not hold a user name or password; the key has its own setting")


async def main(settings: HarnessSettings, stop: asyncio.Event) -> None:
    """Drive sessions until `stop`, then hand over what is in hand."""
    name = settings.name or f"harness-{socket.gethostname()}-{os.getpid()}"
    if settings.model not in MODELS:
        raise BadSettings(f"HOLDFAST_MODEL: one of {', '.join(MODELS)}")
    health = Health("harness")
    model = ObservedModel(MODELS[settings.model](endpoint(settings)), partial(health.note, "model"))
    bus = await connect(settings, name=name)
    claims = Dispatcher(bus, model, settings, name=name, now=now)
    try:
        async with health.serve(settings.health_port), asyncio.TaskGroup() as tasks:
            tasks.create_task(_drain(stop, claims))
            await bus.inbox.stream_epoch(settings.cell)
            health.set("bus", True)
            log.info("ready", name=name, model=settings.model_base_url)
            await bus.inbox.consume(settings.cell, claims.handle, stop, limit=settings.sessions)
    finally:
        await model.close()
        await bus.close()


async def _drain(stop: asyncio.Event, claims: Dispatcher) -> None:
    await stop.wait()
    claims.draining.set()
