"""Two publishers on three servers with three copies of everything, while the leaders of the stream die and freeze."""

import asyncio
import contextlib
import signal
import time
from pathlib import Path

import pytest

from holdfast.bus import events as ev
from holdfast.bus import streams
from holdfast.bus.commits import Stored, commit
from holdfast.bus.errors import Unavailable
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.bus.jetstream.provision import provision
from holdfast.process.settings import ProcessSettings
from holdfast.session.jobs.publisher import Publisher
from tests.support.cluster import nats_cluster, provisioned, urls
from tests.support.eventually import eventually
from tests.support.public_events import all_published

pytestmark = [
    pytest.mark.timeout(240),
    # nats-py leaves the connection to a server that is frozen to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Log:
    """A session that is written to, until `stop` is set."""

    def __init__(self, bus: NatsBus) -> None:
        self._bus = bus
        self._key = Key("acme", new_session_id())
        self.last: Stored | None = None

    @property
    def seq(self) -> int:
        return self.last.seq if self.last else 0

    async def write(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            message = ev.UserMessage(id=new_id("sevt"), content=[])
            made = commit(self.last, [message], by="test", new_id=new_id, now=time.time_ns() // 1000)
            self.last = Stored(await self._bus.log.append(self._key, made, self.seq), made)


async def test_each_event_once_and_in_order_while_leaders_die(tmp_path: Path) -> None:
    async with nats_cluster(tmp_path) as servers:
        admin = await provisioned(servers)
        await provision(admin, FIRST_CELL, replicas=3, public_bytes=256_000_000)
        buses = [await connect(ProcessSettings(nats_url=urls(servers)), name=f"b{n}") for n in range(3)]
        logs = [Log(buses[0]) for _ in range(3)]

        def position() -> int:
            return max(log.seq for log in logs)

        publishing = [asyncio.create_task(Publisher(bus, bus.public, FIRST_CELL, position).run()) for bus in buses[1:]]
        stop = asyncio.Event()
        writing = [asyncio.create_task(log.write(stop)) for log in logs]

        async def more(count: int) -> None:
            """Wait until so many more events are published."""
            before = await ended()

            async def reached() -> bool:
                return await ended() >= before + count

            await eventually(reached, within=60)

        async def ended() -> int:
            while True:
                with contextlib.suppress(Unavailable):  # a leader is elected
                    end = await buses[0].public.end(FIRST_CELL)
                    return end.seq if end else 0

        await more(200)
        for number in (signal.SIGKILL, signal.SIGSTOP):
            info = await admin.api(f"STREAM.INFO.{streams.public_stream()}")
            leader = servers[info["cluster"]["leader"]]
            leader.signal(number)
            await more(200)
            if number == signal.SIGKILL:
                leader.kill()
                await leader.start()
            else:
                leader.signal(signal.SIGCONT)
            await more(200)
        stop.set()
        await asyncio.wait_for(asyncio.gather(*writing), 60)
        try:
            found = await all_published(buses[0], urls(servers), within=60)
            assert len(found) > 1000
        finally:
            for task in publishing:
                task.cancel()
            await asyncio.gather(*publishing, return_exceptions=True)
            for bus in buses:
                await bus.close()
            await admin.close()
