"""`holdfast up` on a data folder of another protocol: it ends with the way out, and changes nothing in the streams."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.bus import streams
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.settings import credentials
from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.model import say
from tests.support.servers import BINARY
from tests.support.stack import Stack, stack


@contextlib.asynccontextmanager
async def administrator(stopped: Stack) -> AsyncGenerator[JetStreamClient]:
    """The administrator of a stack that does not run, with its nats-server alone."""
    config = stopped.data / "secrets" / "nats.conf"
    port = re.search(r'listen: "127\.0\.0\.1:(\d+)"', config.read_text())
    assert port
    quiet = asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(BINARY, "--config", config, stdout=quiet, stderr=quiet)
    client = JetStreamClient()
    try:
        login = credentials(str(stopped.data / "secrets" / "nats-admin.json"))
        await client.open([f"nats://127.0.0.1:{port[1]}"], name="test", login=login)

        async def up() -> bool:
            return "error" not in await client.api("STREAM.LIST", {})

        await eventually(up, what="JetStream")
        yield client
    finally:
        await client.close()
        server.terminate()
        await asyncio.wait_for(server.wait(), 10)


async def set_metadata(stopped: Stack, metadata: dict[str, str]) -> None:
    """Give every stream these metadata; without any it is a stream of protocol 1."""
    async with administrator(stopped) as client:
        for stream in (await client.api("STREAM.LIST", {}))["streams"]:
            config: dict[str, Any] = {**stream["config"], "metadata": metadata}
            answer = await client.api(f"STREAM.UPDATE.{config['name']}", config)
            assert "error" not in answer, answer


async def stored(stopped: Stack) -> list[bytes]:
    """The configuration and the state of every stream."""
    async with administrator(stopped) as client:
        listed = (await client.api("STREAM.LIST", {}))["streams"]
    return sorted(msgspec.json.encode([s["config"], s["state"]], order="sorted") for s in listed)


async def test_a_folder_of_the_first_protocol_is_refused_and_keeps_its_sessions(tmp_path: Path) -> None:
    with stack(tmp_path, harnesses=1) as running:
        async with running.client() as client:
            conversation = await Conversation.begin(client)
            await conversation.say(await running.model.play(say("Kept.")))
            before = [event.id for event in await conversation.until_idle()]
        running.stop()
        await set_metadata(running, {})
        was = await stored(running)
        with pytest.raises(RuntimeError) as refused:
            running.start()
        told = " ".join(str(refused.value).split())
        assert f"holds protocol 1, this version of Holdfast speaks protocol {streams.PROTOCOL}" in told
        assert "holdfast tail SESSION --no-follow --json" in told
        assert "Traceback" not in told
        assert await stored(running) == was
        await set_metadata(running, {streams.PROTOCOL_METADATA: str(streams.PROTOCOL)})
        running.start()
        async with running.client() as client:
            again = Conversation(client, conversation.id)
            assert [event.id for event in await again.events()] == before
