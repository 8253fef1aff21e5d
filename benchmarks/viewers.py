"""Many event streams at once: what they do to requests beside them, and what readers that stall cost in memory.

Nothing may be lost or repeated: each viewer must have seen each event of its session once, in the order of the log.
"""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import psutil

from benchmarks.http import Connection
from benchmarks.result import Row, at_most, spread
from benchmarks.rig import Bench, Rig, message, ms, rested, run, said, session_key
from holdfast.bus import events as ev
from holdfast.bus.ids import new_id
from holdfast.bus.jetstream.client import NatsBus
from tests.support.model import say
from tests.support.session_log import SessionLog

TITLE = "many streams: posts beside them (ms), and memory of the edge with stalled readers (MiB)"

VIEWERS = 400
ROUNDS = 5

PERIOD_S = 8.0
"""Seconds between two messages of one session when they are paced."""

STALLED = 20
RECEIVE_BUFFER_BYTES = 4096
"""Of a reader that stalls, so that the kernel holds little of what it does not read."""


class Load(msgspec.Struct, frozen=True):
    """Events that are written, and characters of each."""

    name: str
    events: int
    chars: int


SMALL = Load("10,000 events", 10_000, 1_000)
LARGE = Load("2,000 events of 400 KB", 2_000, 400_000)

MAX_GROWTH_MIB = 20
MAX_EDGE_MIB = 300

OPEN_WITHIN_S = 60
SETTLE_S = 3.0
"""Seconds after which memory that is free has been given back."""


class Viewer:
    """One event stream, kept as bytes while the clock runs and read afterwards."""

    def __init__(self, session: str, answer: aiohttp.ClientResponse) -> None:
        self.session = session
        self._answer = answer
        self._received = bytearray()
        self._changed = asyncio.Event()

    async def follow(self) -> None:
        async for chunk in self._answer.content.iter_any():
            self._received += chunk
            self._changed.set()

    async def until_idle(self, turns: int) -> None:
        """Return when the end of that many turns has been seen."""
        while self._received.count(b"event: session.status_idle\n") < turns:
            self._changed.clear()
            await self._changed.wait()

    def event_ids(self) -> list[str]:
        lines = bytes(self._received).split(b"\n")
        shown = [msgspec.json.decode(line[6:]) for line in lines if line.startswith(b"data: ")]
        return [event["id"] for event in shown if event["type"] != "ping"]


@contextlib.asynccontextmanager
async def _viewers(rig: Rig, sessions: list[str]) -> AsyncGenerator[list[Viewer]]:
    found = rig.stack.run
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=OPEN_WITHIN_S)
    async with aiohttp.ClientSession(
        found.base_url, headers={"x-api-key": found.api_key}, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
    ) as http:

        async def one(session: str) -> Viewer:
            answer = await http.get(f"/v1/sessions/{session}/events/stream")
            assert answer.status == 200, await answer.text()
            return Viewer(session, answer)

        viewers = [await one(session) for session in sessions]
        tasks = [asyncio.create_task(viewer.follow()) for viewer in viewers]
        try:
            yield viewers
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _timed(ask: Callable[[], Awaitable[Any]]) -> float:
    begin = time.perf_counter()
    await ask()
    return time.perf_counter() - begin


async def _check(bus: NatsBus, viewers: list[Viewer]) -> int:
    """Raise AssertionError unless each viewer saw each event of its session once, in order. Returns their number."""
    count = 0
    for viewer in viewers:
        log = await bus.log.read(session_key(viewer.session))
        written = [event.id for stored in log for event in stored.commit.events if ev.is_shown(event)]
        seen = viewer.event_ids()
        assert seen == written, f"{viewer.session}: {len(seen)} events seen, {len(written)} written"
        count += len(seen)
    return count


async def _posts(rig: Rig) -> list[Row]:
    """While all streams are open every session is sent messages: all in the same instant, or each in its own time."""
    scenario = await rig.scenario(say("Good."))
    count, rounds = rig.options.count(VIEWERS, 40), rig.options.count(ROUNDS, 2)
    found = rig.stack.run
    burst: list[float] = []
    paced: list[float] = []
    probes: list[float] = []
    async with rig.client() as client, rig.bus() as bus, contextlib.AsyncExitStack() as opened:
        sessions = await rig.sessions(client, count, tools=False)
        at_edge = [await opened.enter_async_context(Connection(found.base_url, found.api_key)) for _ in sessions]
        viewers = await opened.enter_async_context(_viewers(rig, sessions))
        paths = [f"/v1/sessions/{session}/events" for session in sessions]
        requests = [c.prepare(path, {"events": [said(scenario)]}) for c, path in zip(at_edge, paths, strict=True)]

        async def post(index: int, wait_s: float = 0.0) -> float:
            await asyncio.sleep(wait_s)
            return await _timed(lambda: at_edge[index].ask(requests[index]))

        async with asyncio.timeout(300):
            for turns in range(1, 2 * rounds + 1):
                if turns <= rounds:
                    probes += await asyncio.gather(*(_timed(lambda c=c: c.ask(c.get("/healthz"))) for c in at_edge))
                    burst += await asyncio.gather(*(post(i) for i in range(count)))
                else:
                    paced += await asyncio.gather(*(post(i, random.uniform(0, PERIOD_S)) for i in range(count)))
                await asyncio.gather(*(viewer.until_idle(turns) for viewer in viewers))
            for session in sessions:
                await rested(bus, session_key(session), 0)
        seen = await _check(bus, viewers)
    note = f"{seen:,} events, each seen once and in order"
    return [_post_row(way, count, found, probes, note) for way, found in (("at once", burst), ("paced", paced))]


def _post_row(way: str, count: int, found: list[float], probes: list[float], note: str) -> Row:
    measured = spread(ms(found))
    return Row(
        name=f"POST, {count} {way} beside {count} streams", unit="ms", found=measured, note=note,
        floor=spread(ms(probes)), floor_name="/healthz, as many at once",
        aims=[at_most("p99 at most 100", measured.p99, 100)],
    )  # fmt: skip


# --- readers that stall --------------------------------------------------------------------------------------------


def _stall(rig: Rig, session: str) -> socket.socket:
    """A stream of the session that is opened and then not read any more."""
    found = rig.stack.run
    where = urlsplit(found.base_url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    sock.settimeout(OPEN_WITHIN_S)
    sock.connect((where.hostname, where.port))
    path = f"/v1/sessions/{session}/events/stream"
    sock.sendall(f"GET {path} HTTP/1.1\r\nhost: {where.netloc}\r\nx-api-key: {found.api_key}\r\n\r\n".encode())
    head = b""
    while b": open" not in head:
        more = sock.recv(1024)
        assert more, head
        head += more
    assert head.startswith(b"HTTP/1.1 200"), head
    return sock


def _pss_mib(rig: Rig) -> float:
    return psutil.Process(rig.stack.pid("session")).memory_full_info().pss / 2**20


async def _write(bus: NatsBus, session: str, load: Load) -> None:
    log = SessionLog(bus, session)
    for start in range(0, load.events, 4):
        texts = [f"{number} ".ljust(load.chars, "x") for number in range(start, min(start + 4, load.events))]
        await log.write(
            *(ev.AgentMessage(id=new_id("sevt"), content=[{"type": "text", "text": text}]) for text in texts)
        )


async def _peak(rig: Rig, work: Awaitable[None]) -> float:
    """The largest PSS of the edge while `work` runs and until it has settled, in MiB."""
    writing = asyncio.ensure_future(work)
    peak, settled_at = 0.0, 0.0
    while not settled_at or time.monotonic() < settled_at:
        peak = max(peak, await asyncio.to_thread(_pss_mib, rig))
        if writing.done() and not settled_at:
            settled_at = time.monotonic() + SETTLE_S
        await asyncio.sleep(0.05)
    await writing
    return peak


async def _stalled(rig: Rig, client: Any, bus: NatsBus, load: Load) -> Row:
    unwatched, watched = await rig.sessions(client, 2, tools=False)
    before = await asyncio.to_thread(_pss_mib, rig)
    floor = await _peak(rig, _write(bus, unwatched, load))
    start = await asyncio.to_thread(_pss_mib, rig)
    readers = [await asyncio.to_thread(_stall, rig, watched) for _ in range(STALLED)]
    peak = await _peak(rig, _write(bus, watched, load))
    for reader in readers:
        reader.close()
    await asyncio.sleep(SETTLE_S)
    after = await asyncio.to_thread(_pss_mib, rig)
    if load.chars == SMALL.chars:
        aims = [at_most(f"at most {MAX_GROWTH_MIB}", peak - start, MAX_GROWTH_MIB)]
    else:
        aims = [at_most(f"edge at most {MAX_EDGE_MIB} in all", peak, MAX_EDGE_MIB)]
    return Row(
        name=f"growth of the edge, {STALLED} stalled readers, {load.name}", unit="MiB", found=spread([peak - start]),
        floor=spread([floor - before]), floor_name="the same events, no reader", aims=aims,
        note=f"{start:.0f} before, {peak:.0f} then, {after:.0f} when they had left",
    )  # fmt: skip


async def _measure(rig: Rig) -> list[Row]:
    rows = await _posts(rig)
    hello = await rig.scenario(say("Good."))
    async with rig.client() as client, rig.bus() as bus:
        (first,) = await rig.sessions(client, 1, tools=False)  # whatever is allocated once
        await bus.inbox.put(session_key(first), message(hello))
        await rested(bus, session_key(first), 0)
        for load in (SMALL, LARGE):
            events = load.events // rig.options.count(1, 10)
            rows.append(await _stalled(rig, client, bus, msgspec.structs.replace(load, events=events)))
    return rows


def figure(bench: Bench) -> list[Row]:
    with bench.rig(own=True) as rig:
        return run(lambda: _measure(rig))
