"""Chooses the driver for the setting `auto`: Docker where it can be used as it is, else bubblewrap."""

from typing import Final

import structlog
from msgspec.structs import replace

from holdfast.sandbox.drivers.docker.diagnosis import unsuitable
from holdfast.sandbox.drivers.docker.engine import Engine, EngineAway, EngineError
from holdfast.sandbox.settings import SandboxSettings

log = structlog.get_logger()

AUTO: Final = "auto"
"""Value of the setting `driver`."""


async def chosen(settings: SandboxSettings) -> SandboxSettings:
    """The settings with the name of a driver in place of AUTO.

    Decided once, at the start: a later failure of the engine never leads to another isolation than was chosen.
    """
    if settings.driver != AUTO:
        return settings
    cause = await _against_docker(settings)
    name = "bubblewrap" if cause else "docker"
    log.info("the driver was chosen", driver=name, cause=cause or "the engine answers and has the image")
    return replace(settings, driver=name)


async def _against_docker(settings: SandboxSettings) -> str:
    """Why Docker cannot be used; empty if it can."""
    engine = Engine(settings.docker_socket, threads=1, timeout_s=settings.docker_timeout)
    try:
        facts, api = await engine.facts()
        if refusal := unsuitable(facts, api, settings.docker_runtime):
            return refusal.cause
        image = await engine.image(settings.docker_image)
    except (EngineAway, EngineError) as exc:
        return f"the engine: {exc}"
    finally:
        engine.close()
    if image is None:
        return f"there is no image {settings.docker_image}"
    return f"the image {settings.docker_image} declares volumes" if image.volumes else ""
