"""Whether the streams on a server are of this version's protocol (`streams.PROTOCOL`).

The provisioner checks before it changes anything, and each service when it connects. The vault service does not: it may
ask the server nothing, and stores nothing there.
"""

from typing import Any, Final

from holdfast.bus import streams
from holdfast.bus.errors import NoResponders, OtherProtocol, Unavailable
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry

STREAM_NOT_FOUND: Final = 10059
"""Error code of the JetStream API."""


def protocol_of(config: dict[str, Any]) -> str:
    """The protocol of a stream with that configuration; "1" if it names none."""
    metadata: dict[str, str] = config.get("metadata") or {}
    return metadata.get(streams.PROTOCOL_METADATA, "1")


def check_config(config: dict[str, Any]) -> None:
    """Raise OtherProtocol, with the way out, unless the stream is of this version's protocol."""
    found = protocol_of(config)
    if found == str(streams.PROTOCOL):
        return
    if found.isdecimal() and int(found) < streams.PROTOCOL:
        way = (
            "There is no conversion. Start the version of Holdfast that made them to read their sessions: "
            "`holdfast sessions` lists them, and `holdfast tail SESSION --no-follow --json` writes one out. "
            "Give this version streams of its own: another data folder (holdfast up --data FOLDER), or another server."
        )
    else:
        way = "They were made by a newer version: install that one."
    raise OtherProtocol(
        f"the stream {config['name']} holds protocol {found}, this version of Holdfast speaks protocol "
        f"{streams.PROTOCOL}. Nothing was changed. {way}"
    )


async def check_protocol(client: JetStreamClient, cell: str) -> None:
    """Check the streams of the cell, if they exist. Raises OtherProtocol, Unavailable."""
    config = await retry(client, _inbox_config, client, cell)
    if config is not None:
        check_config(config)


async def _inbox_config(client: JetStreamClient, cell: str) -> dict[str, Any] | None:
    try:
        answer = await client.api(f"STREAM.INFO.{streams.inbox_stream(cell)}")
    except NoResponders:
        raise Unavailable("JetStream does not answer") from None
    error: dict[str, Any] | None = answer.get("error")
    if error is None:
        return answer["config"]
    if error.get("err_code") == STREAM_NOT_FOUND:
        return None
    raise Unavailable(f"the inbox stream cannot be read: {error.get('description')}")
