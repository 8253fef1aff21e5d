"""Inputs that are set aside when a turn is given up, and what an operator does with them."""

import time

from anthropic import AsyncAnthropic

from holdfast.bus import codec
from holdfast.bus import events as ev
from holdfast.bus.commits import commit
from holdfast.bus.head import Claim
from holdfast.bus.ids import new_id, new_session_id
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.parked import PARKED, ParkedInput, encode_parked
from holdfast.harness.turn.claim import TAKEOVER_LIMIT
from holdfast.testing.contracts.helpers import client_input
from tests.integration.bus_faults.conftest import bus, server
from tests.support.command import holdfast
from tests.support.conversation import Conversation
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


async def test_the_operator_looks_releases_and_drops(shared: Stack, client: AsyncAnthropic) -> None:
    conversation = await Conversation.begin(client)
    await conversation.say(await shared.model.play(say("Hello.")))
    taken = (await conversation.until_idle())[-1]
    mark = await shared.model.play(say("It was read after all."))
    async with shared.bus("harness") as harness:
        last = await harness.log.head(key(conversation.id))
        assert last is not None
        position = last.commit.head.taken.inputs
        inbox = last.commit.head.inbox

        async def park(seq: int, data: bytes) -> str:
            parked = ParkedInput(
                tenant="default", session=conversation.id, source="in", seq=seq, inbox=inbox,
                parked_at=time.time_ns() // 1000, reason="no harness got through its turn", data=data,
            )  # fmt: skip
            await harness.kv.put(PARKED, parked.name, encode_parked(parked))
            return parked.name.removeprefix("a0.")

        unread = client_input(f"[play:{mark}] set aside")
        name = await park(position, codec.encode_input(unread)[0])
        garbage = await park(position - 1, b"\x00\xff")
    data = ("--data", str(shared.data))
    listed = await holdfast("parked", *data)
    assert listed.code == 0, listed
    assert {line.split("\t")[0] for line in listed.out.splitlines()} >= {name, garbage}
    shown = await holdfast("parked", "show", name, *data)
    assert "set aside" in shown.out
    released = await holdfast("parked", "release", name, *data)
    assert (released.code, released.out.split()) == (0, ["released", name]), released
    events = await conversation.until_idle()
    assert "It was read after all." in str(events[-6:])
    assert taken.id in [e.id for e in events]
    again = await holdfast("parked", "release", name, *data)
    assert again.code == 2
    assert "nothing is parked" in again.err

    async with shared.bus("harness") as harness:
        twice = ParkedInput(
            tenant="default", session=conversation.id, source="in", seq=1, inbox="before",
            parked_at=1, reason="as before", data=codec.encode_input(unread)[0],
        )  # fmt: skip
        await harness.kv.put(PARKED, twice.name, encode_parked(twice))
    refused = await holdfast("parked", "release", twice.name.removeprefix("a0."), *data)
    assert refused.code == 1
    assert "taken it already" in refused.err
    unreadable = await holdfast("parked", "release", garbage, *data)
    assert unreadable.code == 1
    dropped = await holdfast("parked", "drop", garbage, twice.name.removeprefix("a0."), *data)
    assert dropped.code == 0, dropped
    assert (await holdfast("parked", *data)).out == ""
