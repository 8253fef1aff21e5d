"""`holdfast up` on a data folder of another protocol: it ends with the way out, and the folder is as it was."""

from pathlib import Path
from typing import Any

import pytest

from holdfast.bus import streams
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.settings import credentials
from tests.support.conversation import Conversation
from tests.support.model import say
from tests.support.stack import Stack, stack


async def set_protocol(running: Stack, metadata: dict[str, str]) -> None:
    """Give every stream of the stack these metadata; without any it is a stream of protocol 1."""
    run = running.run
    client = JetStreamClient()
    await client.open([run.nats_url], name="test", login=credentials(run.credentials["admin"]))
    for stream in (await client.api("STREAM.LIST", {}))["streams"]:
        config: dict[str, Any] = {**stream["config"], "metadata": metadata}
        answer = await client.api(f"STREAM.UPDATE.{config['name']}", config)
        assert "error" not in answer, answer
    await client.close()


async def test_a_folder_of_the_first_protocol_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    with stack(tmp_path, harnesses=1) as running:
        async with running.client() as client:
            conversation = await Conversation.begin(client)
            await conversation.say(await running.model.play(say("Kept.")))
            before = [event.id for event in await conversation.until_idle()]
        await set_protocol(running, {})
        running.stop()
        with pytest.raises(RuntimeError) as refused:
            running.start()
        told = str(refused.value)
        assert f"holds protocol 1, this version of Holdfast speaks protocol {streams.PROTOCOL}" in told
        assert "holdfast tail SESSION --no-follow --json" in " ".join(told.split())
        assert "Traceback" not in told
        with pytest.raises(RuntimeError, match="holds protocol 1"):
            running.start()
        assert before
