"""A harness leaves what a newer version has written to a harness of that version: nothing is lost or repeated."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from anthropic import AsyncAnthropic

from holdfast.bus import streams, subjects
from holdfast.bus.commits import Stored
from holdfast.bus.ids import Key
from holdfast.bus.inputs import Taken
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.harness.turn.left_to_newer import NEWER_NAK_DELAY_S
from tests.support.conversation import Conversation, text
from tests.support.edge import SessionService
from tests.support.eventually import eventually
from tests.support.harness import HarnessProcess
from tests.support.model import ScriptedModel, say, scripted_model
from tests.support.newer import new_session, newer_commit, newer_input

pytestmark = pytest.mark.timeout(180)
"""Deliveries that are left come again after NEWER_NAK_DELAY_S, and several of them are waited for."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedModel]:
    with scripted_model(log=tmp_path_factory.mktemp("model") / "model.log") as running:
        yield running


@pytest.fixture
async def harness(edge: SessionService, model: ScriptedModel, tmp_path: Path) -> AsyncIterator[HarnessProcess]:
    key = tmp_path / "model.key"
    key.write_text("any")
    environ = {
        "HOLDFAST_NATS_URL": edge.nats.url,
        "HOLDFAST_MODEL_BASE_URL": model.base_url,
        "HOLDFAST_MODEL_KEY_FILE": str(key),
    }
    process = HarnessProcess(tmp_path, name="old", environ=environ)
    await process.start()
    yield process
    process.kill()


async def left(harness: HarnessProcess) -> int:
    """Deliveries that the harness says it has left to a newer version."""
    note = (await harness.report()).get("notes", {}).get("newer version", "0")
    return int(note.split()[0])


async def until_left(harness: HarnessProcess, count: int) -> None:
    async def look() -> bool:
        return await left(harness) >= count

    await eventually(look, what=f"{count} deliveries left to a newer version", within=20)


def lines_about(harness: HarnessProcess, session: str) -> list[str]:
    return [line for line in harness.log().splitlines() if "left_to_newer_version" in line and session in line]


async def last(bus: NatsBus, key: Key) -> Stored:
    found = await bus.log.head(key, leader=True)
    assert found
    return found


async def test_a_newer_input_waits_with_all_behind_it_and_other_sessions_go_on(
    client: AsyncAnthropic, bus: NatsBus, admin: JetStreamClient, model: ScriptedModel, harness: HarnessProcess
) -> None:
    session = await new_session(client)
    key = Key("default", session)
    await newer_input(admin, key)
    await until_left(harness, 1)
    first_at = time.monotonic()
    behind = Conversation(client, session)
    await behind.say(await model.play(say("After the upgrade.")))
    other = Conversation(client, await new_session(client))
    await other.say(await model.play(say("Not concerned.")))
    assert text((await other.until_idle())[-5]) == "Not concerned."
    await until_left(harness, 4)
    assert time.monotonic() - first_at > 0.9 * NEWER_NAK_DELAY_S, "each of the two is tried once in a delay"
    assert len(lines_about(harness, session)) == 1
    assert "Traceback" not in harness.log()
    waiting = await bus.inbox.pending(key)
    assert [w.newer for w in waiting] == [True, False]
    head = (await last(bus, key)).commit.head
    assert (head.taken, head.count) == (Taken(), 1), "nothing was taken, not even what can be read"
    await admin.api(f"STREAM.MSG.DELETE.{streams.inbox_stream()}", {"seq": waiting[0].seq})
    assert text((await behind.until_idle())[-5]) == "After the upgrade."


async def test_a_turn_ends_and_releases_while_a_newer_input_waits(
    client: AsyncAnthropic, bus: NatsBus, admin: JetStreamClient, model: ScriptedModel, harness: HarnessProcess
) -> None:
    conversation = Conversation(client, await new_session(client))
    key = Key("default", conversation.id)
    gate = f"gate-{conversation.id}"
    await conversation.say(await model.play(say("One two three.", gates=[{"name": gate, "after": 1}])))
    await model.reached(gate)
    await newer_input(admin, key)
    await until_left(harness, 1)
    await model.release(gate)
    await conversation.until_idle()

    async def released() -> bool:
        return (await last(bus, key)).commit.head.claim is None

    await eventually(released, what="the claim is released for the newer version")
    assert [w.newer for w in await bus.inbox.pending(key)][-1]


async def test_a_newer_commit_ends_the_run_and_nothing_is_written_after_it(
    client: AsyncAnthropic, bus: NatsBus, admin: JetStreamClient, model: ScriptedModel, harness: HarnessProcess
) -> None:
    conversation = Conversation(client, await new_session(client))
    key = Key("default", conversation.id)
    gate = f"gate-{conversation.id}"
    await conversation.say(await model.play(say("One two three.", gates=[{"name": gate, "after": 1}])))
    await model.reached(gate)
    await newer_commit(admin, key)
    await model.release(gate)
    await until_left(harness, 2)
    assert len(lines_about(harness, conversation.id)) == 1
    assert "Traceback" not in harness.log()
    message = await admin.leader(streams.log_stream(), {"last_by_subj": subjects.log(key)})
    assert message
    assert b'"v":99' in message.data
    assert len(await bus.inbox.pending(key)) == 1, "the input still waits, for a harness that can read the log"
