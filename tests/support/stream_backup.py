"""Back up a stream and restore it by the JetStream API, as `nats stream backup` and `nats stream restore` do."""

import asyncio
from typing import Any

import msgspec

from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.jetstream.requests import JetStreamClient

CHUNK_BYTES = 128 * 1024
TIMEOUT_S = 30.0


class Backup(msgspec.Struct, frozen=True):
    """A stream with its consumers: what `STREAM.SNAPSHOT` said of it, and its data in chunks."""

    config: dict[str, Any]
    state: dict[str, Any]
    chunks: list[bytes]


async def back_up(admin: JetStreamClient, stream: str) -> Backup:
    """The whole stream. Raises AssertionError, TimeoutError."""
    inbox, arrived = admin.inbox(), asyncio.Queue[RawMessage]()

    async def receive(got: RawMessage) -> None:
        arrived.put_nowait(got)

    listening = await admin.listen(inbox, receive)
    answer = await admin.api(f"STREAM.SNAPSHOT.{stream}", {"deliver_subject": inbox, "chunk_size": CHUNK_BYTES})
    assert "error" not in answer, answer
    chunks: list[bytes] = []
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            got = await arrived.get()
            if not got.data:
                assert got.status in ("", "204"), got.headers
                break
            chunks.append(got.data)
            if got.reply:
                await admin.send(got.reply, b"")
    await listening.close()
    return Backup(answer["config"], answer["state"], chunks)


async def restore(admin: JetStreamClient, backup: Backup) -> dict[str, Any]:
    """Make the stream from its backup; its state. Raises AssertionError."""
    body = {"config": backup.config, "state": backup.state}
    answer = await admin.api(f"STREAM.RESTORE.{backup.config['name']}", body)
    assert "error" not in answer, answer
    for chunk in backup.chunks:
        await admin.ask(answer["deliver_subject"], chunk)
    got = await admin.ask(answer["deliver_subject"], b"", timeout_s=TIMEOUT_S)
    made: dict[str, Any] = msgspec.json.decode(got.data)
    assert "error" not in made, made
    return made["state"]
