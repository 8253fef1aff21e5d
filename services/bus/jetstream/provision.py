"""Create and update on a server what `streams` describes: `python -m holdfast.bus.jetstream.provision`.

It connects as the administrator. Idempotent: missing streams are created, differing ones are updated. None is deleted,
but that of public events on request. The configurations are sent as raw JSON, since nats-py drops the
fields that it does not know.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, cast

import structlog
from msgspec import Meta

from holdfast.bus import streams
from holdfast.bus.errors import BusError, NoResponders, Refused, Unavailable
from holdfast.bus.jetstream.protocol import STREAM_NOT_FOUND, check_config
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.readers import Reader, parse_readers
from holdfast.process.settings import BadSettings, ProcessSettings, credentials, load

log = structlog.get_logger()

READY_TIMEOUT_S = 30.0
"""Seconds to wait for JetStream to be ready."""

_REQUEST_TIMEOUT_S = 10.0
"""Seconds for one response: a cluster elects a leader before it answers that a stream is created."""


class ProvisionSettings(ProcessSettings, frozen=True, kw_only=True):
    replicas: int = 1
    """Copies of each stream: 1, or 3 on a cluster."""
    public_events_bytes: Annotated[int, Meta(ge=0)] | None = None
    """Bytes of public events that are kept in the stream of the cell, at least MIN_PUBLIC_BYTES. 0 removes the stream.
    None leaves it as it is: there is none at first."""
    readers: str = ""
    """Who reads public events: `NAME:TENANT:TYPE+TYPE`, with commas between them (`bus/readers.py`)."""


MIN_PUBLIC_BYTES = 16 * 1024 * 1024
"""Least size of a stream of public events: twice its largest message."""


def overlaps(one: str, other: str) -> bool:
    """Whether some subject matches both patterns."""
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(left) == len(right)


def refuse_secret_subjects(configs: list[dict[str, Any]]) -> None:
    """Raises Refused if a stream would store a subject of SECRET_SUBJECTS."""
    for config in configs:
        for subject in [*config.get("subjects", []), *_republished(config)]:
            for secret in streams.SECRET_SUBJECTS:
                if overlaps(subject, secret):
                    raise Refused(f"stream {config['name']} would cover {secret} by {subject}")


def _republished(config: dict[str, Any]) -> Iterator[str]:
    if "republish" in config:
        yield config["republish"]["dest"]


async def provision(
    client: JetStreamClient,
    cell: str,
    *,
    replicas: int = 1,
    public_bytes: int | None = None,
    readers: Sequence[Reader] = (),
) -> None:
    """Create or update everything of one cell; `public_bytes` and `readers` as in ProvisionSettings.

    Raises Refused, Unavailable, and OtherProtocol before any change.
    """
    configs = streams.stream_configs(cell, replicas=replicas)
    if public_bytes:
        configs.append(streams.public_config(cell, max_bytes=max(public_bytes, MIN_PUBLIC_BYTES), replicas=replicas))
    refuse_secret_subjects(configs)
    await _ready(client)
    await _check_existing(client, {config["name"] for config in configs})
    for config in configs:
        await _apply(client, f"STREAM.INFO.{config['name']}", f"STREAM.{{}}.{config['name']}", config, STREAM_NOT_FOUND)
    await _apply_durable(client, streams.inbox_stream(cell), streams.harness_consumer())
    await _apply_durable(client, streams.TASKS_STREAM, streams.task_consumer())
    if public_bytes == 0:
        await _remove_public(client, cell)
    stream = streams.public_stream(cell)
    if readers and (await client.api(f"STREAM.INFO.{stream}")).get("error", {}).get("err_code") == STREAM_NOT_FOUND:
        raise Refused("HOLDFAST_READERS: there are no public events to read; set HOLDFAST_PUBLIC_EVENTS_BYTES")
    for reader in readers:
        await _apply_durable(client, stream, reader.consumer(cell))


async def _apply_durable(client: JetStreamClient, stream: str, durable: dict[str, Any]) -> None:
    """Create or update the durable; its state is kept."""
    body = {"stream_name": stream, "config": durable}
    await _call(client, f"CONSUMER.CREATE.{stream}.{durable['durable_name']}", body)


async def _remove_public(client: JetStreamClient, cell: str) -> None:
    """Remove the stream of public events with all that is in it, and its consumers."""
    answer = await client.api(f"STREAM.DELETE.{streams.public_stream(cell)}", timeout_s=_REQUEST_TIMEOUT_S)
    error = answer.get("error")
    if error and error.get("err_code") != STREAM_NOT_FOUND:
        raise Refused(f"the stream of public events is not removed: {error.get('description')}")


async def _ready(client: JetStreamClient) -> None:
    deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
    while True:
        try:
            answer = await client.api("INFO")
        except (NoResponders, Unavailable) as exc:
            why = str(exc)
        else:
            if "error" not in answer:
                return
            why = str(answer["error"].get("description"))
        if asyncio.get_running_loop().time() > deadline:
            raise Unavailable(f"JetStream is not ready: {why}")
        await asyncio.sleep(0.1)


async def _check_existing(client: JetStreamClient, ours: set[str]) -> None:
    """Raises Refused if any stream on the server, also of others, covers a secret subject.

    Raises OtherProtocol if one of `ours` is of another protocol.
    """
    offset, total = 0, 1
    while offset < total:
        answer = await _call(client, "STREAM.LIST", {"offset": offset})
        found: list[dict[str, Any]] = answer.get("streams") or []
        refuse_secret_subjects([stream["config"] for stream in found])
        for stream in found:
            if stream["config"]["name"] in ours:
                check_config(stream["config"])
        total, offset = int(answer.get("total", 0)), offset + max(1, len(found))


async def _apply(client: JetStreamClient, info: str, change: str, config: dict[str, Any], missing: int) -> None:
    answer = await client.api(info, timeout_s=_REQUEST_TIMEOUT_S)
    error = answer.get("error")
    if error and error.get("err_code") == missing:
        await _call(client, change.format("CREATE"), config)
        log.info("provision.created", stream=config["name"])
        return
    if error:
        raise Unavailable(str(error.get("description")))
    if _differs(config, answer["config"]):
        await _call(client, change.format("UPDATE"), {**answer["config"], **config})
        log.info("provision.updated", stream=config["name"])


def _differs(wanted: Any, actual: Any) -> bool:
    """True if the server's value lacks one of our fields. The server omits zeros and adds fields of its own."""
    if not isinstance(wanted, dict):
        return bool(wanted != actual) and bool(wanted or actual)
    ours, theirs = cast("dict[str, Any]", wanted), cast("dict[str, Any]", actual or {})
    return any(_differs(value, theirs.get(key)) for key, value in ours.items())


async def _call(client: JetStreamClient, name: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.api(name, body, timeout_s=_REQUEST_TIMEOUT_S)
    if "error" in answer:
        raise Refused(f"{name}: {answer['error'].get('description')} ({answer['error'].get('err_code')})")
    return answer


async def main() -> int:
    try:
        settings = load(ProvisionSettings)
        client = JetStreamClient()
        await client.open(settings.nats_url.split(","), name="provision", login=credentials(settings.nats_credentials))
        try:
            await provision(
                client,
                settings.cell,
                replicas=settings.replicas,
                public_bytes=settings.public_events_bytes,
                readers=parse_readers(settings.readers),
            )
        finally:
            await client.close()
    except (BusError, BadSettings, ValueError) as exc:
        print(f"provision: {exc}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
