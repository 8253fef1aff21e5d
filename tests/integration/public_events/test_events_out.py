"""`holdfast up` with public events and a webhook: a turn by the SDK, read by the program of docs/events-out.md."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.settings import credentials
from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.markdown import blocks
from tests.support.model import bash, say
from tests.support.stack import Stack, stack
from tests.support.webhooks import Receiver, receiver

pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[3]
ENVIRON = {
    "HOLDFAST_PUBLIC_EVENTS_BYTES": "1000000000",
    "HOLDFAST_WEBHOOK_HOSTS": "127.0.0.1",
    "HOLDFAST_READERS": "billing:default:session.usage+agent.message,audit:*:>,others:other:>",
}


def program() -> str:
    """The one program of the document."""
    text = (ROOT / "docs" / "events-out.md").read_text()
    (found,) = [block.text for block in blocks(text) if block.language == "python"]
    return found


def begin(argv: list[str | Path], out: Path) -> subprocess.Popen[bytes]:
    with out.open("wb") as output:
        return subprocess.Popen(argv, stdout=output, stderr=output)


async def follow(made: Stack, folder: Path, reader: str, count: int) -> list[tuple[str, str, str]]:
    """What the program of the document prints for that reader: type, session and body of its first events."""
    file, out = folder / "follow.py", folder / f"{reader}.out"
    file.write_text(program())
    process = begin([sys.executable, file, made.data, reader], out)
    try:

        async def printed() -> bool:
            return len(out.read_text().splitlines()) >= count

        await eventually(printed, what=f"{count} events of {reader}")
        assert process.poll() is None, out.read_text()
    finally:
        process.kill()
        process.wait(10)
    parts = [line.split(" ", 2) for line in out.read_text().splitlines()]
    return [(type_, session, body) for type_, session, body in parts]


async def ever_had(made: Stack, consumer: str) -> int:
    """How many events the consumer has delivered or has yet to deliver."""
    link = JetStreamClient()
    run = made.run
    await link.open([run.nats_url], name="test", login=credentials(run.credentials["admin"]))
    try:
        info = await link.api(f"CONSUMER.INFO.PUB_a0.{consumer}")
    finally:
        await link.close()
    return info["delivered"]["consumer_seq"] + info["num_pending"]


async def until_received(endpoint: Receiver, session: str) -> None:
    """Wait until the endpoint of the webhook has got the begin and the end of the turn."""

    async def got() -> bool:
        return endpoint.of(session) == ["session.status_run_started", "session.status_idled"]

    await eventually(got, what="two webhooks of the turn")


async def test_what_a_turn_shows_is_read_by_those_who_may_read_it(tmp_path: Path) -> None:
    with stack(tmp_path, environ=ENVIRON, harnesses=1) as made, receiver() as endpoint:
        mark = await made.model.play(bash("echo a"), say("Done."))
        async with made.client() as client:
            body = {"url": endpoint.url, "events": ["session.status_run_started", "session.status_idled"]}
            hook: Any = await client.post("/v1/webhooks", cast_to=object, body=body)
            conversation = await Conversation.begin(client)
            await conversation.say(mark)
            shown = [event.to_dict(mode="json") for event in await conversation.until_idle()]
            await until_received(endpoint, conversation.id)
            assert {request.event(hook["secret"]).data.id for request in endpoint.got} == {conversation.id}
            audit = await follow(made, tmp_path, "audit", len(shown))
            assert [(type_, session) for type_, session, _ in audit] == [(e["type"], conversation.id) for e in shown]
            assert [json.loads(body)["id"] for _, _, body in audit] == [event["id"] for event in shown]
            wanted = [e["id"] for e in shown if e["type"] in ("session.usage", "agent.message")]
            billing = await follow(made, tmp_path, "billing", len(wanted))
            assert [json.loads(body)["id"] for _, _, body in billing] == wanted
            await conversation.say(mark)  # what was acknowledged does not come again
            after = [event.to_dict(mode="json") for event in await conversation.until_idle()]
            new = [e["id"] for e in after if e["type"] in ("session.usage", "agent.message")][len(wanted) :]
            again = await follow(made, tmp_path, "billing", len(new))
            assert [json.loads(body)["id"] for _, _, body in again] == new
            assert await ever_had(made, "reader_others") == 0
            assert await ever_had(made, "reader_audit") == len(after)


async def test_a_wrong_reader_is_refused_with_its_cause(tmp_path: Path) -> None:
    argv = [str(Path(sys.executable).parent / "holdfast"), "up", "--scripted", "--data", str(tmp_path), "--port", "0"]
    environ = {"PATH": "/usr/bin:/bin", "HOLDFAST_READERS": "Billing:default:>"}
    done = await asyncio.to_thread(
        subprocess.run, argv, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "HOLDFAST_READERS: the name of a reader" in done.stderr + done.stdout
