"""Inputs that are set aside when a turn is given up, and what an operator does with them."""

import time
from pathlib import Path

import pytest
from anthropic import AsyncAnthropic

from holdfast.bus import codec
from holdfast.bus import events as ev
from holdfast.bus.commits import commit
from holdfast.bus.head import Claim
from holdfast.bus.ids import new_id, new_session_id
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.parked import PARKED, ParkedInput, encode_parked
from holdfast.cli.embedded.parked import carry_out
from holdfast.harness.turn.claim import TAKEOVER_LIMIT
from holdfast.testing.contracts.helpers import client_input
from tests.integration.bus_faults.conftest import bus, server
from tests.support.command import holdfast
from tests.support.conversation import Conversation, text
from tests.support.forged_deliveries import ForgedDelivery, intruder
from tests.support.model import say
from tests.support.session_log import SessionLog
from tests.support.stack import Stack, key
from tests.unit.harness.heads import CONFIG

__all__ = ["bus", "server"]


async def test_a_turn_that_is_given_up_parks_what_nobody_could_take(shared: Stack, bus: NatsBus) -> None:
    """Three harnesses have died of the first input. The second one was sent after it and is not touched."""
    log = SessionLog(bus, new_session_id(), tenant="acme")
    await bus.log.append(log.key, commit(None, [CONFIG], by="edge", new_id=new_id, now=1), 0)
    deadly, later = client_input("deadly"), client_input("later")
    seq, behind = await bus.inbox.put(log.key, deadly), await bus.inbox.put(log.key, later)
    last = await bus.log.head(log.key)
    assert last is not None
    claim = Claim(id="clm_1", by="dead", trigger=seq, failures=TAKEOVER_LIMIT - 1)
    made = commit(last, [], by="dead", new_id=new_id, now=time.time_ns() // 1000, claim=claim)
    await bus.log.append(log.key, made, last.seq)
    delivery = ForgedDelivery(log.key, seq, count=4)
    async with intruder(shared, bus) as dispatcher:
        await dispatcher.handle(delivery)
    assert delivery.acked
    (entry,) = await bus.kv.list(PARKED)
    assert entry.value is not None
    assert f".{seq}" in entry.key
    assert entry.key.startswith(f"a0.acme.{log.key.session}.")
    head = (await bus.log.head(log.key)).commit.head  # pyright: ignore[reportOptionalMemberAccess]
    assert (head.claim, head.taken.inputs) == (None, seq)
    assert [p.seq for p in await bus.inbox.pending(log.key, head.taken)] == [behind]
    (told,) = [e for s in await bus.log.read(log.key) for e in s.commit.events if isinstance(e, ev.SessionError)]
    assert "set aside" in str(told)


async def test_the_operator_looks_releases_and_drops(
    shared: Stack, client: AsyncAnthropic, capsys: pytest.CaptureFixture[str]
) -> None:
    conversation = await Conversation.begin(client)
    await conversation.say(await shared.model.play(say("Hello.")))
    await conversation.until_idle()
    mark = await shared.model.play(say("It was read after all."))
    async with shared.bus("harness") as harness:
        last = await harness.log.head(key(conversation.id))
        assert last is not None
        position = last.commit.head.taken.inputs

        async def park(seq: int, data: bytes, inbox: str = last.commit.head.inbox) -> str:
            parked = ParkedInput(
                tenant="default", session=conversation.id, source="in", seq=seq, inbox=inbox,
                parked_at=time.time_ns() // 1000, reason="no harness got through its turn", data=data,
            )  # fmt: skip
            await harness.kv.put(PARKED, parked.name, encode_parked(parked))
            return parked.name.removeprefix("a0.")

        unread = client_input(f"[play:{mark}] set aside")
        name = await park(position, codec.encode_input(unread)[0])
        garbage = await park(position - 1, b"\x00\xff")
        twice = await park(1, codec.encode_input(unread)[0], inbox="before")
    data = ("--data", str(shared.data))
    listed = await holdfast("parked", *data)
    assert listed.code == 0, listed
    assert {line.split("\t")[0] for line in listed.out.splitlines()} == {name, garbage, twice}
    login = ("--nats-credentials", shared.run.credentials["admin"])
    far = await holdfast("parked", "--nats-url", shared.run.nats_url, *login)
    assert (far.code, far.out) == (0, listed.out), "the same of a system that no `holdfast up` on this machine runs"
    released = await holdfast("parked", "release", name, *data)
    assert (released.code, released.out.split()) == (0, ["released", name]), released
    answered = await conversation.until_events("agent.message", count=2)
    assert text(answered[-1]) == "It was read after all."

    async with shared.bus("admin") as admin:
        assert await carry_out(admin, "show", [garbage, twice], as_json=False) == 0
        shown = capsys.readouterr().out
        assert "this version cannot read it" in shown
        assert "set aside" in shown
        assert await carry_out(admin, "release", [name], as_json=False) == 2
        assert "nothing is parked" in capsys.readouterr().err
        assert await carry_out(admin, "release", [garbage, twice], as_json=False) == 1
        refused = capsys.readouterr().err
        assert "no events of a client" in refused
        assert "taken it already" in refused
        assert await carry_out(admin, "drop", [garbage, twice], as_json=False) == 0
        assert await carry_out(admin, "list", [], as_json=False) == 0
        assert capsys.readouterr().out.split() == ["dropped", garbage, "dropped", twice]


async def test_what_was_released_and_still_waits_is_not_released_again(
    bus: NatsBus, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that ended between its two halves, and was repeated long after it: no harness has run meanwhile."""
    log = SessionLog(bus, new_session_id(), tenant="acme")
    last = commit(None, [CONFIG], by="edge", new_id=new_id, now=1)
    await bus.log.append(log.key, last, 0)
    unread = client_input("set aside")
    parked = ParkedInput(
        tenant="acme", session=log.key.session, source="in", seq=7, inbox="before",
        parked_at=1, reason="no harness got through its turn", data=codec.encode_input(unread)[0],
    )  # fmt: skip
    name = parked.name.removeprefix("a0.")
    await bus.kv.put(PARKED, parked.name, encode_parked(parked))
    assert await carry_out(bus, "release", [name], as_json=False) == 0
    await bus.kv.put(PARKED, parked.name, encode_parked(parked))
    assert await carry_out(bus, "release", [name], as_json=False) == 1
    assert "waits for a harness: drop it" in capsys.readouterr().err
    (waiting,) = await bus.inbox.pending(log.key)
    assert waiting.input == unread


async def test_a_bus_that_cannot_be_used_is_an_error(shared: Stack, tmp_path: Path) -> None:
    refused = await holdfast("parked", "--nats-credentials", str(tmp_path / "login.json"))
    assert (refused.code, refused.out) == (2, "")
    assert "give both" in refused.err
    refused = await holdfast(
        "parked", "--nats-url", shared.run.nats_url, "--nats-credentials", str(tmp_path / "none.json")
    )
    assert (refused.code, refused.out) == (1, "")
    assert "HOLDFAST_NATS_CREDENTIALS: cannot read user and password" in refused.err
    api = {"HOLDFAST_BASE_URL": shared.run.base_url, "HOLDFAST_API_KEY": shared.run.api_key}
    refused = await holdfast("parked", **api)
    assert (refused.code, refused.out) == (2, "")
    assert "--nats-url ADDRESS" in refused.err
