"""The harness process: makes the parts and connects them."""

import asyncio
import contextlib
import importlib
import socket
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from holdfast.bus.jetstream.client import connect
from holdfast.bus.jetstream.readiness import watch_bus
from holdfast.harness.models.interface import Endpoint, Model
from holdfast.harness.models.metered_model import MeteredModel
from holdfast.harness.models.model_health import ObservedModel
from holdfast.harness.models.registry import CLOUDS, MODELS
from holdfast.harness.models.traced_model import TracedModel
from holdfast.harness.settings import VENDOR, HarnessSettings
from holdfast.harness.turn.dispatch import Dispatcher
from holdfast.harness.turn.ping import replica_name, serve_ping
from holdfast.harness.turn.turn_span import in_turn_span
from holdfast.process import clock, metering, metrics, spans
from holdfast.process.health import Health
from holdfast.process.model_catalogue import load_catalogue
from holdfast.process.settings import BadSettings
from holdfast.process.supervision import supervised

log = structlog.get_logger()


def endpoint(settings: HarnessSettings) -> Endpoint:
    """The model endpoint of the settings. Raises BadSettings if its address or its key file cannot be used."""
    check_address(settings.model_base_url)
    try:
        key = Path(settings.model_key_file).read_text().strip() if settings.model_key_file else ""
    except OSError:
        raise BadSettings(f"HOLDFAST_MODEL_KEY_FILE: cannot read {settings.model_key_file}") from None
    derived = settings.model in CLOUDS and settings.model_base_url.rstrip("/") == VENDOR
    return Endpoint(
        base_url="" if derived else settings.model_base_url,
        key=key,
        silence=settings.model_silence,
        auth=settings.model_auth,
        betas=tuple(filter(None, map(str.strip, settings.model_betas.split(",")))),
    )


def check_address(url: str) -> None:
    """Raises BadSettings if no request can be sent to the address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of range, or a broken IPv6 address
        usable, parts = False, urlsplit("")
    if not usable:
        raise BadSettings("HOLDFAST_MODEL_BASE_URL: must be an address such as https://api.anthropic.com")
    if parts.username is not None or parts.password is not None:
        raise BadSettings("HOLDFAST_MODEL_BASE_URL: must not hold a user name or password; the key has its own setting")


def preload(settings: HarnessSettings) -> None:
    """Load the client of the model, if its module is named as its kind: the import may take longer than all others."""
    module = "anthropic_clouds" if settings.model in CLOUDS else settings.model
    with contextlib.suppress(ImportError):  # `main` meets it too, and tells it
        importlib.import_module(f"holdfast.harness.models.{module}")


async def main(settings: HarnessSettings, stop: asyncio.Event) -> None:
    """Drive sessions until `stop` is set, then hand over those that are in mid-turn."""
    name = replica_name(settings.name or f"harness-{socket.gethostname()}")
    if settings.model not in MODELS:
        raise BadSettings(f"HOLDFAST_MODEL: one of {', '.join(MODELS)}")
    catalogue = load_catalogue(settings.models_file)
    health = Health("harness", "bus")
    model: Model = ObservedModel(MODELS[settings.model](endpoint(settings)), partial(health.note, "model"))
    if metering.is_on():
        model = MeteredModel(model, catalogue, settings.model)
    if spans.are_recorded():
        model = TracedModel(model, settings.model)
    async with contextlib.AsyncExitStack() as closing:
        closing.push_async_callback(model.close)
        bus = await connect(settings, name=name, own_account=True)
        closing.push_async_callback(bus.close)
        note_newer = partial(health.note, "newer version")
        dispatcher = Dispatcher(
            bus,
            model,
            settings,
            name=name,
            now=clock.now,
            catalogue=catalogue,
            note_newer=note_newer,
            note_dropped=partial(health.note, "model requests"),
        )
        health.gauge("running_turns", lambda: len(dispatcher))
        health.gauge("places", lambda: settings.sessions)
        metering.observe_number(metrics.DRIVEN, lambda: len(dispatcher))
        async with health.serve(settings.health_port, settings.health_host), asyncio.TaskGroup() as tasks:
            tasks.create_task(_drain(stop, dispatcher))
            await bus.inbox.stream_epoch(settings.cell)
            pings = await serve_ping(bus, settings.cell, name)
            releases = await dispatcher.warm.listen(settings.cell)
            watching = tasks.create_task(supervised(partial(watch_bus, bus, health), health.note, name="bus"))
            log.info("ready", name=name, kind=settings.model, model=settings.model_base_url)
            handle = partial(in_turn_span, dispatcher.handle, name)
            await bus.inbox.consume(settings.cell, handle, stop, limit=settings.sessions, name=name)
            watching.cancel()
            await releases.close()
            await pings.close()


async def _drain(stop: asyncio.Event, dispatcher: Dispatcher) -> None:
    await stop.wait()
    dispatcher.draining.set()
