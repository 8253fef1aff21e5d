"""Public events: how many a second a publisher copies, how late they are, and what publishing costs the sessions.

The rate is that of a backlog: the log is there before its stream of public events is. The delay is from the
begin of the append of a commit to the arrival of its event at a reader, at a pace that leaves the machine idle.
"""

import asyncio
import time
from itertools import pairwise
from typing import Any

import msgspec

from benchmarks.erase import Writer
from benchmarks.result import Row, Spread, at_least, at_most, spread
from benchmarks.rig import Bench, Rig, ms, run
from benchmarks.throughput import looped
from holdfast.bus import streams
from holdfast.bus.ids import FIRST_CELL, new_id
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.jetstream.provision import provision
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.public_events import LOG_HEADER
from holdfast.bus.readers import Reader
from tests.support.eventually import eventually

TITLE = "public events: rate, delay, and what they cost the sessions"

KEPT_BYTES = 1_000_000_000

TEXT = "t" * 400
"""Of an event."""

AT_ONCE = 64
"""Publishes in flight of the floor, as of the publisher."""

SLICE_S = 0.1

PACE_S = 0.01

SESSIONS = 10

ENVIRON = {"HOLDFAST_PUBLIC_EVENTS_BYTES": str(KEPT_BYTES)}

READER = Reader("bench", "*", (">",))


async def _raw(rig: Rig, count: int) -> Spread:
    """Publishes a second of messages of the same size, as many at once, that expect nothing."""
    name, rates = new_id("floor"), list[float]()
    async with rig.link("harness") as link:
        for part in range(count // AT_ONCE):
            begin = time.perf_counter()
            subjects = [f"$KV.snap.{FIRST_CELL}.bench.{name}-{part}-{number}" for number in range(AT_ONCE)]
            await asyncio.gather(*(link.store(subject, TEXT.encode(), {}) for subject in subjects))
            rates.append(AT_ONCE / (time.perf_counter() - begin))
    return spread(rates, rate=True)


async def _backlog(rig: Rig, bus: NatsBus, count: int) -> list[float]:
    """Events a second that the publisher copies, in slices, once the stream is there."""
    writers = [Writer(bus) for _ in range(SESSIONS)]
    for _ in range(count // SESSIONS):
        await asyncio.gather(*(writer.append(TEXT) for writer in writers))
    async with rig.link("admin") as admin:
        await provision(admin, FIRST_CELL, public_bytes=KEPT_BYTES, readers=[READER])
    edges: list[tuple[float, int]] = []
    while not edges or edges[-1][1] < count:
        end = await bus.public.end(FIRST_CELL)
        if end and end.seq:
            edges.append((time.perf_counter(), end.seq))
        await asyncio.sleep(SLICE_S)
    moving = pairwise(edges)
    return [(there - here) / (later - at) for (at, here), (later, there) in moving if there < count]


async def _delays(rig: Rig, bus: NatsBus, count: int) -> tuple[list[float], list[float]]:
    """Seconds from the begin of an append to a reader, and to a tail of the log."""
    writer = Writer(bus)
    await writer.append(TEXT)
    stored, tailed, read = dict[int, float](), dict[int, float](), dict[int, float]()

    async def receive(got: RawMessage) -> None:
        place = got.headers.get(LOG_HEADER, "/0-0")
        read[int(place.partition("/")[2].partition("-")[0])] = time.perf_counter()

    async def tail() -> None:
        async for found in bus.log.tail(writer.key):
            if found:
                tailed[found.seq] = time.perf_counter()

    async with rig.link("admin") as admin:
        await _skip_to_end(admin)
        inbox = admin.inbox()
        listening = await admin.listen(inbox, receive)
        asking = {"batch": count, "expires": 60 * streams.SECOND_NS}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{streams.public_stream()}.{READER.user}_late"
        await admin.send(subject, msgspec.json.encode(asking), reply=inbox)
        following = asyncio.create_task(tail())
        await asyncio.sleep(0.5)
        for _ in range(count):
            begin = time.perf_counter()
            await writer.append(TEXT)
            stored[writer.last_seq] = begin
            await asyncio.sleep(PACE_S)

        async def all_arrived() -> bool:
            return stored.keys() <= read.keys() and stored.keys() <= tailed.keys()

        await eventually(all_arrived)
        following.cancel()
        await listening.close()
    return [read[s] - at for s, at in stored.items()], [tailed[s] - at for s, at in stored.items()]


async def _skip_to_end(admin: JetStreamClient) -> None:
    """A consumer of what is published from now on."""
    stream, name = streams.public_stream(), f"{READER.user}_late"
    config: dict[str, Any] = {**READER.consumer(), "durable_name": name, "name": name, "deliver_policy": "new"}
    await admin.api(f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config})


async def _measure(rig: Rig) -> list[Row]:
    count, paced = rig.options.count(30_000, 3_000), rig.options.count(500, 100)
    async with rig.bus() as bus:
        floor = await _raw(rig, count)
        found = spread(await _backlog(rig, bus, count), rate=True)
        delays, tails = await _delays(rig, bus, paced)
    return [
        Row(
            name="public events of a backlog", unit="1/s", found=found, floor=floor,
            floor_name=f"publishes, {AT_ONCE} at once",
        ),
        Row(
            name="from an append to a reader", unit="ms", found=spread(ms(delays)), floor=spread(ms(tails)),
            floor_name="to a tail of the log", aims=[at_most("p99 at most 20 ms", spread(ms(delays)).p99, 20)],
        ),
    ]  # fmt: skip


def figure(bench: Bench) -> list[Row]:
    with bench.rig(own=True) as rig:
        rows = run(lambda: _measure(rig))
    rates: list[Spread] = []
    for environ in ({}, ENVIRON):
        with bench.rig(own=True, environ=environ) as rig:
            rates.append(spread(run(lambda rig=rig: looped(rig, SESSIONS)).rates, rate=True))
    without, publishing = rates
    cost = at_least("at least 0.95 of the floor", publishing.p50 / without.p50, 0.95)
    name = f"steps while they are published, {SESSIONS} sessions"
    rows.append(
        Row(name=name, unit="1/s", found=publishing, floor=without, floor_name="the same unpublished", aims=[cost])
    )
    return rows
