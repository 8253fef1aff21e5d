"""A message is accepted by the head that the projector has heard last, and by a read where that is not known."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from holdfast.bus import events as ev
from holdfast.bus.commits import commit
from holdfast.bus.errors import Newer
from holdfast.bus.head import Head
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.session.events.send import send
from holdfast.session.http.errors import ApiError
from holdfast.session.jobs.projector import project
from holdfast.session.log.known_heads import KnownHeads
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.repository import SessionRepository
from holdfast.testing.faults import Faults
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.support.eventually import eventually

KEY = Key("acme", new_session_id())
CONFIG = ev.SessionConfig(
    id="cfg",
    tenant="acme",
    agent={"id": "agent_1", "version": 1, "name": "tester", "model": {"id": "scripted"}},
    environment_id="env_1",
    environment={"type": "cloud"},
    primary_thread="sthr_1",
)
NEWER_COMMIT = b'{"v":99,"id":"cmt_x","at":1,"by":"later","head":{},"events":[]}'


class HeadReads(Faults):
    """Counts the reads of a last commit by the service."""

    def __init__(self) -> None:
        self.count = 0

    async def pause(self, process: str, operation: str) -> None:
        self.count += process == "session" and operation == "head"
        await super().pause(process, operation)


class Service:
    """A session service without HTTP, and a bus of somebody else."""

    def __init__(self) -> None:
        self.reads = HeadReads()
        self.server = MemoryServer(self.reads)
        model = ReadModel(None, [FIRST_CELL])
        self.sessions = SessionRepository(
            MemoryBus(self.server, "session"), model, cells=[FIRST_CELL], now=lambda: 1_000_000
        )
        self.other = MemoryBus(self.server, "other")

    @contextlib.asynccontextmanager
    async def projecting(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(project(self.sessions))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def say(self, key: Key) -> int:
        """Send a message; the reads of a last commit that this took."""
        before = self.reads.count
        await send(self.sessions, key, [ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": "hi"}])])
        return self.reads.count - before

    async def append_by_another(self, key: Key, event: ev.Event) -> None:
        last = await self.other.log.head(key)
        made = commit(last, [event], by="other", new_id=new_id, now=2)
        seq = await self.other.log.append(key, made, last.seq if last else 0)
        await self.knows(key, seq)

    async def knows(self, key: Key, seq: int) -> None:
        async def look() -> bool:
            return self.sessions.heads.seq(key) == seq

        await eventually(look, within=10, what="heard")


async def session(service: Service) -> Key:
    """A session that another service has made while this one listens."""
    key = Key("acme", new_session_id())
    warm = Key("acme", new_session_id())
    while not service.sessions.heads.seq(warm):  # until the log is heard to its end
        await service.sessions.append(warm, await service.other.log.head(warm), [CONFIG])
        await asyncio.sleep(0)
    await service.append_by_another(key, CONFIG)
    return key


async def test_a_message_is_accepted_without_a_read() -> None:
    service = Service()
    async with service.projecting():
        key = await session(service)
        assert await service.say(key) == 0
        await service.append_by_another(key, ev.SessionUpdated(id=new_id("sevt"), title="new"))
        assert await service.say(key) == 0
    assert len(await service.other.inbox.pending(key)) == 2
    assert await service.say(key) == 1, "nobody listens any more"


async def test_a_session_of_before_the_start_is_read() -> None:
    service = Service()
    await service.other.log.append(KEY, commit(None, [CONFIG], by="other", new_id=new_id, now=1), 0)
    async with service.projecting():
        await session(service)
        assert await service.say(KEY) == 1


@pytest.mark.parametrize("by", ["this service", "another"])
async def test_a_session_that_was_archived_or_deleted_takes_no_message(by: str) -> None:
    service = Service()
    async with service.projecting():
        for event, status in (
            (ev.SessionStatusTerminated(id=new_id("sevt")), 400),
            (ev.SessionDeleted(id=new_id("sevt")), 404),
        ):
            key = await session(service)
            if by == "another":
                await service.append_by_another(key, event)
            else:
                await service.sessions.append(key, await service.other.log.head(key), [event])
            with pytest.raises(ApiError) as refused:
                await service.say(key)
            assert refused.value.status == status
            assert not await service.other.inbox.pending(key)


async def test_a_session_that_a_newer_version_has_written_is_read() -> None:
    service = Service()
    async with service.projecting():
        key = await session(service)
        last = await service.other.log.head(key)
        assert last is not None
        seq = service.server.append(key, NEWER_COMMIT, "cmt_x", last.seq)
        await service.knows(key, seq)
        with pytest.raises(Newer):
            await service.say(key)


def test_the_latest_head_wins_in_whatever_order_it_is_told() -> None:
    heads = KnownHeads()
    heads.put(KEY, 1, Head())
    assert heads.find(KEY) is None, "its cell is not heard"
    heads.begin(FIRST_CELL)
    heads.put(KEY, 5, Head(deleted=7))
    heads.put(KEY, 4, Head())
    assert heads.find(KEY) is None, "it is deleted"
    heads.end(FIRST_CELL)
    assert len(heads) == 0


def test_the_heads_that_are_kept_are_bounded() -> None:
    heads = KnownHeads(limit=3)
    heads.begin(FIRST_CELL)
    keys = [Key("acme", new_session_id()) for _ in range(9)]
    for seq, key in enumerate(keys, 1):
        heads.put(key, seq, Head())
    assert [heads.find(key) is not None for key in keys] == [False] * 6 + [True] * 3
