"""The stream of public events on a real server: each event once, in order, whatever readers and publishers do."""

import asyncio
import json
import random
from collections.abc import Generator
from pathlib import Path

import nats
import pytest
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from holdfast.bus import codec, streams, subjects
from holdfast.bus import events as ev
from holdfast.bus.ids import new_id
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.public_events import MAX_BODY_BYTES
from holdfast.session.jobs.publisher import MAX_PART_EVENTS, STANDBY_INTERVAL_S
from tests.support.created_sessions import MIB, create_session
from tests.support.edge import SessionService, replica, session_service
from tests.support.eventually import eventually
from tests.support.public_events import all_published, in_log, published
from tests.support.session_log import SessionLog

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def edge(tmp_path: Path) -> Generator[SessionService]:
    with session_service(tmp_path, {"HOLDFAST_SESSION_DATA": str(tmp_path / "data")}, public_bytes=256 * MIB) as made:
        yield made


async def a_turn(log: SessionLog, text: str) -> None:
    """One turn with a call that waits for the client."""
    await log.running()
    await log.says(text)
    await log.asks(custom=1, ask=1)
    await log.idle()


async def test_a_consumer_made_later_gets_what_the_api_shows_once_and_in_order(edge: SessionService) -> None:
    names = [create_session(edge, title) for title in ("one", "two")]
    async with edge.bus() as bus:
        logs = [SessionLog(bus, name) for name in names]
        await asyncio.gather(*(a_turn(log, f"text {number}") for number, log in enumerate(logs)))
        await logs[0].says("x" * 300_000)
        with edge.http() as http:  # the SDK sends a parent of its own once a test has made a tracer
            headers = {"traceparent": PARENT}
            assert http.post(f"/v1/sessions/{names[0]}", json={"title": "another"}, headers=headers).is_success
        await all_published(bus, edge.nats.url)
    client = await nats.connect(edge.nats.url)
    try:
        later = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.ALL)
        pull = await client.jetstream().pull_subscribe(
            f"pub.a0.default.{names[0]}.>", durable="later", stream="PUB_a0", config=later
        )
        got = await pull.fetch(100, timeout=5)
        for one in got:
            await one.ack()
    finally:
        await client.close()
    with edge.http() as http:
        shown = http.get(f"/v1/sessions/{names[0]}/events").json()["data"]
    assert len(shown) > 8
    assert [json.loads(one.data) for one in got] == shown
    for one, event in zip(got, shown, strict=True):
        assert one.headers
        attributes = {name: value for name, value in one.headers.items() if name.startswith("ce-")}
        traced = attributes.pop("ce-traceparent", None)
        assert traced == one.headers.get("traceparent")
        if event["type"] == "session.updated":
            assert traced
            assert traced[:36] == PARENT[:36], "the request is in the trace of its caller"
            assert traced != PARENT, "and has a span of its own"
        assert attributes == {
            "ce-specversion": "1.0",
            "ce-id": event["id"],
            "ce-source": "/cells/a0/tenants/default",
            "ce-type": event["type"],
            "ce-subject": names[0],
            "ce-time": event["processed_at"],
            "ce-datacontenttype": "application/json",
        }
        assert one.subject == f"pub.a0.default.{names[0]}.{event['type']}"
        assert one.headers["Nats-Msg-Id"] == event["id"]


async def test_an_event_larger_than_a_message_names_where_it_is(edge: SessionService) -> None:
    name = create_session(edge)
    async with edge.bus() as bus:
        log = SessionLog(bus, name)
        await log.says("y" * (MAX_BODY_BYTES + 1))
        small = await log.says("small")
        state: list[str] = []

        async def there() -> bool:
            state[:] = [one.id for one in await published(edge.nats.url)]
            return small in state

        await eventually(there)
    large, after = (await published(edge.nats.url))[-2:]
    assert large.data == b""
    assert large.headers["ce-dataref"] == f"/v1/sessions/{name}/events"
    assert after.id == small


async def test_a_stream_made_later_gets_what_the_log_has(tmp_path: Path) -> None:
    with session_service(tmp_path) as edge:
        name = create_session(edge)
        async with edge.bus() as bus:
            await a_turn(SessionLog(bus, name), "before")
            await asyncio.to_thread(edge.nats.provision, HOLDFAST_PUBLIC_EVENTS_BYTES=str(64 * MIB))
            await SessionLog(bus, name).says("after")
            await all_published(bus, edge.nats.url)
            await asyncio.to_thread(edge.nats.provision)
            await all_published(bus, edge.nats.url)  # without the setting it stays
            await asyncio.to_thread(edge.nats.provision, HOLDFAST_PUBLIC_EVENTS_BYTES="0")
            assert await bus.public.end("a0") is None
            await SessionLog(bus, name).says("nobody publishes this")
            with edge.client() as client:
                client.beta.sessions.delete(name)


async def writing(logs: list[SessionLog], stop: asyncio.Event) -> None:
    async def write(log: SessionLog) -> None:
        number = 0
        while not stop.is_set():
            await log.says(f"{log.key.session} {number}")
            number += 1

    await asyncio.gather(*(write(log) for log in logs))


async def test_of_two_replicas_one_publishes_and_the_other_goes_on(edge: SessionService, tmp_path: Path) -> None:
    names = [create_session(edge) for _ in range(3)]
    (tmp_path / "second").mkdir()
    with replica(edge, tmp_path / "second", {"HOLDFAST_SESSION_DATA": ""}) as second:
        async with edge.bus() as bus:
            stop = asyncio.Event()
            tasks = asyncio.create_task(writing([SessionLog(bus, name) for name in names], stop))
            for one in (edge, second, edge):
                await asyncio.sleep(random.uniform(0.8, 2.0))
                one.kill()
                await asyncio.sleep(random.uniform(0.2, 1.5))
                await asyncio.to_thread(one.start)
            stop.set()
            await tasks
            found = await all_published(bus, edge.nats.url)
    assert len({one.headers["Holdfast-Publisher"] for one in found}) > 1, "the second replica never published"


async def test_commits_that_clients_do_not_see_are_no_reason_to_take_over(edge: SessionService, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with replica(edge, tmp_path / "second") as second:
        async with edge.bus() as bus:
            for _ in range(3):
                name = create_session(edge)  # a commit without a public event
                await SessionLog(bus, name).says("something")
                await all_published(bus, edge.nats.url)
            create_session(edge)
            await asyncio.sleep(4 * STANDBY_INTERVAL_S)  # nothing must happen, so there is nothing to wait for
            await all_published(bus, edge.nats.url)
    told = edge.log.read_text() + second.log.read_text()
    assert told.count('"publishes public events"') == 1


@pytest.mark.parametrize("point", ["session.publishing", "session.published"])
@pytest.mark.parametrize("passes", [1, 4])
async def test_a_publisher_that_dies_leaves_no_gap_and_doubles_nothing(tmp_path: Path, point: str, passes: int) -> None:
    environ = {"HOLDFAST_SESSION_DATA": str(tmp_path / "data"), "HOLDFAST_FAULT": f"{point}:kill:{passes}"}
    with session_service(tmp_path, environ, public_bytes=64 * MIB) as edge:
        names = [create_session(edge) for _ in range(2)]
        async with edge.bus() as bus:
            stop = asyncio.Event()
            tasks = asyncio.create_task(writing([SessionLog(bus, name) for name in names], stop))
            await asyncio.to_thread(edge.wait)
            stop.set()
            await tasks
            edge.start_unarmed()
            await all_published(bus, edge.nats.url)


async def test_a_publisher_that_dies_within_a_commit_goes_on_within_it(tmp_path: Path) -> None:
    environ = {"HOLDFAST_SESSION_DATA": str(tmp_path / "data"), "HOLDFAST_FAULT": "session.published:kill"}
    with session_service(tmp_path, environ, public_bytes=64 * MIB) as edge:
        name = create_session(edge)
        async with edge.bus() as bus:
            many = [ev.AgentMessage(id=new_id("sevt"), content=[]) for _ in range(2 * MAX_PART_EVENTS + 1)]
            await SessionLog(bus, name).write(*many)
            await asyncio.to_thread(edge.wait)
            assert len(await published(edge.nats.url)) == MAX_PART_EVENTS
            edge.start_unarmed()
            await all_published(bus, edge.nats.url)


async def test_the_connection_of_the_publisher_breaks(edge: SessionService) -> None:
    name = create_session(edge)
    async with edge.bus() as bus:
        stop = asyncio.Event()
        tasks = asyncio.create_task(writing([SessionLog(bus, name)], stop))
        for _ in range(3):
            await asyncio.sleep(0.5)
            edge.nats.kill()
            await edge.nats.start()
        stop.set()
        await tasks
        await all_published(bus, edge.nats.url, within=60)


async def test_a_full_stream_drops_the_oldest_and_a_stuck_consumer_changes_nothing(tmp_path: Path) -> None:
    with session_service(tmp_path, public_bytes=1) as edge:
        name = create_session(edge)
        client = await nats.connect(edge.nats.url)
        stuck = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=1)
        pull = await client.jetstream().pull_subscribe("pub.>", durable="stuck", stream="PUB_a0", config=stuck)
        async with edge.bus() as bus:
            log = SessionLog(bus, name)
            await log.says("the first")
            await pull.fetch(1, timeout=10)  # never acknowledged
            for number in range(40):
                await log.says(f"{number} " + "z" * MIB)
            found = await all_published(bus, edge.nats.url, full=True)
            assert 10 < len(found) < 20, "16 MiB of events of 1 MiB"
            assert len(await in_log(bus)) > 40
        await client.close()


async def test_a_purge_by_an_administrator_doubles_nothing_while_the_publisher_lives(edge: SessionService) -> None:
    name = create_session(edge)
    async with edge.bus() as bus:
        log = SessionLog(bus, name)
        await a_turn(log, "before")
        await all_published(bus, edge.nats.url)
        link = JetStreamClient()
        await link.open([edge.nats.url], name="admin", login=None)
        await link.api(f"STREAM.PURGE.{streams.public_stream()}")
        await link.close()
        after = await log.says("after")
        found = await all_published(bus, edge.nats.url, full=True)
        assert [one.id for one in found] == [after]


async def test_an_emptied_stream_is_filled_from_the_log_when_a_publisher_begins(edge: SessionService) -> None:
    name = create_session(edge)
    async with edge.bus() as bus:
        await a_turn(SessionLog(bus, name), "before")
        await all_published(bus, edge.nats.url)
        edge.kill()
        link = JetStreamClient()
        await link.open([edge.nats.url], name="admin", login=None)
        await link.api(f"STREAM.PURGE.{streams.public_stream()}")
        await link.close()
        assert await published(edge.nats.url) == []
        await asyncio.to_thread(edge.start)
        await all_published(bus, edge.nats.url)


async def test_an_id_that_the_log_has_twice_holds_nothing_up(edge: SessionService) -> None:
    """No part of Holdfast writes that; whoever may append to a log could."""
    name = create_session(edge)
    async with edge.bus() as bus:
        log = SessionLog(bus, name)
        twice = await log.says("one")
        await log.says("two", event_id=twice)
        last = await log.says("three")

        async def ids() -> list[str]:
            found = [one.id for one in await published(edge.nats.url)]
            return found if last in found else []

        assert await eventually(ids, within=10) == [twice, twice, last]


async def test_nothing_behind_an_event_of_a_newer_version_is_published_before_it(edge: SessionService) -> None:
    """Rule 27: a newer session service will publish it, in its place."""
    name = create_session(edge)
    async with edge.bus() as bus:
        log = SessionLog(bus, name)
        before = await log.says("before")
        other = SessionLog(bus, create_session(edge))
        link = JetStreamClient()
        await link.open([edge.nats.url], name="admin", login=None)
        last = await bus.log.head(log.key, leader=True)
        assert last
        data, _ = codec.encode_commit(last.commit)
        newer = {**json.loads(data), "id": "cmt_newer"}
        newer["events"] = [{"type": "agent.dream", "id": "sevt_newer"}]
        seq = await link.store(subjects.log(log.key), json.dumps(newer).encode(), {})
        await other.says("behind it")
        await asyncio.to_thread(edge.until_logged, "wait until every session service is of the newer version")
        assert [one.id for one in await published(edge.nats.url)] == [before]
        assert await link.erase(streams.log_stream(), seq)
        edge.kill()
        await asyncio.to_thread(edge.start)
        await all_published(bus, edge.nats.url)
        await link.close()
