"""The provisioner may be repeated, updates streams, and refuses streams that cover secrets."""

import asyncio

import pytest

from holdfast.bus import streams
from holdfast.bus.errors import Refused
from holdfast.bus.ids import FIRST_CELL, Key, new_id
from holdfast.bus.inputs import Nudge
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.provision import overlaps, provision, refuse_secret_subjects
from holdfast.bus.jetstream.requests import JetStreamClient
from tests.support.bus_faults import said
from tests.support.servers import NatsServer


async def test_provisioning_again_changes_nothing_and_loses_nothing(server: NatsServer, bus: NatsBus, key: Key) -> None:
    made = said("one")
    await bus.log.append(key, made, 0)
    seq = await bus.inbox.put(key, Nudge(id=new_id("ndg")))
    before = await bus.inbox.stream_epoch(FIRST_CELL)
    await asyncio.to_thread(server.provision)
    await asyncio.to_thread(server.provision)
    assert [s.commit for s in await bus.log.read(key)] == [made]
    assert [w.seq for w in await bus.inbox.pending(key)] == [seq]
    assert await bus.inbox.stream_epoch(FIRST_CELL) == before


async def test_provisioning_brings_a_stream_up_to_date(server: NatsServer, admin: JetStreamClient) -> None:
    config = next(c for c in streams.stream_configs() if c["name"] == "KV_hands")
    old = {k: v for k, v in config.items() if k != "republish"} | {"duplicate_window": streams.SECOND_NS}
    answer = await admin.api("STREAM.UPDATE.KV_hands", old)
    assert "error" not in answer
    assert "republish" not in answer["config"]
    await asyncio.to_thread(server.provision)
    now = (await admin.api("STREAM.INFO.KV_hands"))["config"]
    assert now["republish"] == config["republish"]
    assert now["duplicate_window"] == config["duplicate_window"]


async def test_provisioning_refuses_while_any_stream_covers_a_secret(admin: JetStreamClient) -> None:
    answer = await admin.api("STREAM.CREATE.SPY", {"name": "SPY", "subjects": ["vault.req.*"], "storage": "file"})
    assert "error" not in answer
    with pytest.raises(Refused, match="SPY"):
        await provision(admin, FIRST_CELL)


def test_our_streams_cover_no_secret() -> None:
    refuse_secret_subjects(streams.stream_configs())
    for subjects in (["vault.>"], [">"], ["*.req.x"], ["_INBOX.*.x"], ["*.*"]):
        with pytest.raises(Refused):
            refuse_secret_subjects([{"name": "BAD", "subjects": subjects}])
    with pytest.raises(Refused):
        refuse_secret_subjects([{"name": "BAD", "subjects": ["a.>"], "republish": {"src": "a.>", "dest": "vault.>"}}])


def test_patterns_overlap() -> None:
    assert overlaps("a.*.c", "a.b.*")
    assert overlaps("a.>", "a.b")
    assert overlaps("*.b", "a.*")
    assert not overlaps("a.b", "a.b.c")
    assert not overlaps("a.>", "b.>")
