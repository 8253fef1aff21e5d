"""Make a server agree with `streams`: `python -m holdfast.bus.jetstream.provision`, as an administrator.

Idempotent: what is missing is created, what differs is updated, nothing is ever deleted. Applied as raw JSON, since the
client library drops what it does not know.
"""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any, cast

import structlog

from holdfast.bus import streams
from holdfast.bus.errors import BusError, NoResponders, Refused, Unavailable
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.settings import BadSettings, ProcessSettings, credentials, load

log = structlog.get_logger()

READY_TIMEOUT_S = 30.0
"""Seconds to wait for JetStream to be ready."""

_REQUEST_TIMEOUT_S = 10.0
"""Seconds for one answer: making a stream on a cluster elects a leader first."""

_STREAM_NOT_FOUND = 10059
_NO_CONSUMER = 10014


class ProvisionSettings(ProcessSettings, frozen=True, kw_only=True):
    replicas: int = 1
    """Copies of each stream: 1, or 3 on a cluster."""


def overlaps(one: str, other: str) -> bool:
    """Whether some subject matches both patterns."""
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(left) == len(right)


def uncovered(configs: list[dict[str, Any]]) -> None:
    """Raises Refused when a stream would store what may hold a secret."""
    for config in configs:
        for subject in [*config.get("subjects", []), *_republished(config)]:
            for secret in streams.SECRET_SUBJECTS:
                if overlaps(subject, secret):
                    raise Refused(f"stream {config['name']} would cover {secret} by {subject}")


def _republished(config: dict[str, Any]) -> Iterator[str]:
    if "republish" in config:
        yield config["republish"]["dest"]


async def provision(link: JetStreamClient, cell: str, *, replicas: int = 1) -> None:
    """Create or update everything of one cell. Raises Refused, Unavailable."""
    configs = streams.stream_configs(cell, replicas=replicas)
    uncovered(configs)
    await _ready(link)
    await _check_existing(link)
    for config in configs:
        await _apply(link, f"STREAM.INFO.{config['name']}", f"STREAM.{{}}.{config['name']}", config, _STREAM_NOT_FOUND)
    inbox, durable = streams.inbox_stream(cell), streams.harness_consumer()
    name = durable["durable_name"]
    body = {"stream_name": inbox, "config": durable}
    await _call(link, f"CONSUMER.CREATE.{inbox}.{name}", body)  # creates or updates; the state of a durable is kept


async def _ready(link: JetStreamClient) -> None:
    deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
    while True:
        try:
            answer = await link.api("INFO")
        except (NoResponders, Unavailable) as exc:
            why = str(exc)
        else:
            if "error" not in answer:
                return
            why = str(answer["error"].get("description"))
        if asyncio.get_running_loop().time() > deadline:
            raise Unavailable(f"JetStream is not ready: {why}")
        await asyncio.sleep(0.1)


async def _check_existing(link: JetStreamClient) -> None:
    """No stream of whatever origin may cover a secret subject."""
    offset, total = 0, 1
    while offset < total:
        answer = await _call(link, "STREAM.LIST", {"offset": offset})
        found: list[dict[str, Any]] = answer.get("streams") or []
        uncovered([stream["config"] for stream in found])
        total, offset = int(answer.get("total", 0)), offset + max(1, len(found))


async def _apply(link: JetStreamClient, info: str, change: str, config: dict[str, Any], missing: int) -> None:
    answer = await link.api(info, timeout_s=_REQUEST_TIMEOUT_S)
    error = answer.get("error")
    if error and error.get("err_code") == missing:
        await _call(link, change.format("CREATE"), config)
        log.info("provision.created", stream=config["name"])
        return
    if error:
        raise Unavailable(str(error.get("description")))
    if _differs(config, answer["config"]):
        await _call(link, change.format("UPDATE"), {**answer["config"], **config})
        log.info("provision.updated", stream=config["name"])


def _differs(wanted: Any, actual: Any) -> bool:
    """Whether the server's value lacks something of ours. It leaves out what is zero, and adds fields of its own."""
    if not isinstance(wanted, dict):
        return bool(wanted != actual) and bool(wanted or actual)
    ours, theirs = cast("dict[str, Any]", wanted), cast("dict[str, Any]", actual or {})
    return any(_differs(value, theirs.get(key)) for key, value in ours.items())


async def _call(link: JetStreamClient, name: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await link.api(name, body, timeout_s=_REQUEST_TIMEOUT_S)
    if "error" in answer:
        raise Refused(f"{name}: {answer['error'].get('description')} ({answer['error'].get('err_code')})")
    return answer


async def main() -> int:
    try:
        settings = load(ProvisionSettings)
        link = JetStreamClient()
        await link.open(settings.nats_url.split(","), name="provision", login=credentials(settings.nats_credentials))
        try:
            await provision(link, settings.cell, replicas=settings.replicas)
        finally:
            await link.close()
    except (BusError, BadSettings) as exc:
        print(f"provision: {exc}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
