"""The network drops answers of the server: each write is resolved, and stored once."""

import asyncio
import signal

import pytest

from holdfast.bus.commits import Stored
from holdfast.bus.errors import Conflict, Unavailable
from holdfast.bus.ids import Key, new_id
from holdfast.bus.inputs import Nudge
from holdfast.bus.jetstream.client import NatsBus
from tests.support.bus_faults import is_true, said
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.servers import NatsServer


async def test_a_lost_answer_to_an_append_is_resolved_by_the_commit_id(
    bus: NatsBus, far: NatsBus, between: Proxy, key: Key
) -> None:
    made = said("one")
    between.drop_answers = True
    appending = asyncio.create_task(far.log.append(key, made, 0))
    await asyncio.wait_for(between.dropped.wait(), 5)
    stored = await bus.log.head(key)
    assert stored is not None, "the server stored it, and its answer was swallowed"
    between.cut()
    assert await asyncio.wait_for(appending, 15) == stored.seq
    assert await bus.log.read(key) == [stored]


async def test_a_lost_answer_is_found_below_later_commits(bus: NatsBus, far: NatsBus, between: Proxy, key: Key) -> None:
    made = said("one")
    between.drop_answers = True
    appending = asyncio.create_task(far.log.append(key, made, 0))
    await asyncio.wait_for(between.dropped.wait(), 5)
    stored = await bus.log.head(key)
    assert stored is not None
    for number in range(3):
        other = said(f"by another {number}", stored)
        stored = Stored(await bus.log.append(key, other, stored.seq), other)
    between.cut()
    first = (await bus.log.read(key))[0]
    assert await asyncio.wait_for(appending, 15) == first.seq
    assert first.commit == made


async def test_an_append_that_never_arrived_is_sent_again_unless_the_log_moved(
    bus: NatsBus, server: NatsServer, far: NatsBus, between: Proxy, key: Key
) -> None:
    server.signal(signal.SIGSTOP)
    one, before = said("one"), between.bytes_to_server
    appending = asyncio.create_task(far.log.append(key, one, 0))
    await eventually(lambda: is_true(between.bytes_to_server > before))  # it lies in a socket of the stopped server
    between.cut()
    server.signal(signal.SIGCONT)
    assert await asyncio.wait_for(appending, 15) > 0
    assert [s.commit.id for s in await bus.log.read(key)] == [one.id]


async def test_a_lost_answer_to_an_append_that_was_refused_is_a_conflict(
    bus: NatsBus, far: NatsBus, between: Proxy, key: Key
) -> None:
    await bus.log.append(key, said("of another"), 0)
    between.drop_answers = True
    appending = asyncio.create_task(far.log.append(key, said("mine"), 0))
    await asyncio.wait_for(between.dropped.wait(), 5)
    between.cut()
    with pytest.raises(Conflict):
        await asyncio.wait_for(appending, 15)
    assert len(await bus.log.read(key)) == 1


async def test_a_refusal_costs_the_same_however_far_the_log_has_moved(
    bus: NatsBus, far: NatsBus, between: Proxy, key: Key
) -> None:
    """As for a harness whose knowledge of a session is older than a long turn of another one."""
    first = said("known")
    seq = await bus.log.append(key, first, 0)
    last, costs = Stored(seq, first), list[int]()
    for commits in (1, 200):
        for number in range(commits):
            made = said(f"by another {number}", last)
            last = Stored(await bus.log.append(key, made, last.seq), made)
        before = between.bytes_to_server
        with pytest.raises(Conflict) as refused:
            await far.log.append(key, said("mine"), seq)
        assert refused.value.actual == last.seq
        costs.append(between.bytes_to_server - before)
    assert costs[1] < 2 * costs[0], costs


async def test_an_input_whose_answer_was_lost_is_stored_once(
    bus: NatsBus, far: NatsBus, between: Proxy, key: Key
) -> None:
    between.drop_answers = True
    putting = asyncio.create_task(far.inbox.put(key, Nudge(id=new_id("ndg"))))
    await asyncio.wait_for(between.dropped.wait(), 5)
    between.cut()
    seq = await asyncio.wait_for(putting, 15)
    assert [w.seq for w in await bus.inbox.pending(key)] == [seq]


async def test_a_key_whose_answer_was_lost_is_created_once(bus: NatsBus, far: NatsBus, between: Proxy) -> None:
    between.drop_answers = True
    creating = asyncio.create_task(far.kv.create("hands", "c.a0.one", b"1"))
    await asyncio.wait_for(between.dropped.wait(), 5)
    between.cut()
    revision = await asyncio.wait_for(creating, 15)
    entry = await bus.kv.get("hands", "c.a0.one")
    assert entry
    assert (entry.value, entry.revision) == (b"1", revision)


async def test_a_half_dead_connection_ends_as_unavailable(far: NatsBus, between: Proxy, key: Key) -> None:
    between.drop_answers = True
    with pytest.raises(Unavailable):
        await far.core.request("cmd.nobody", b"", timeout=0.5)


@pytest.mark.parametrize("error", ["Slow Consumer", "Authentication Timeout", "anything else", "Stale Connection"])
async def test_an_error_of_the_server_never_ends_the_connection_for_good(
    far: NatsBus, between: Proxy, key: Key, error: str
) -> None:
    await far.log.append(key, said("one"), 0)
    between.inject(f"-ERR '{error}'\r\n".encode())
    await eventually(lambda: is_true(not far.connected), within=5)
    await eventually(lambda: is_true(far.connected), within=5)
    assert len(await far.log.read(key)) == 1


async def test_a_permission_that_is_missing_does_not_cost_the_connection(
    far: NatsBus, between: Proxy, key: Key
) -> None:
    between.inject(b"-ERR 'Permissions Violation for Publish to \"vault.x\"'\r\n")
    for number in range(3):
        await far.inbox.put(key, Nudge(id=new_id("ndg")))
        assert far.connected, number
