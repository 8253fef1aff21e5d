"""Which worker makes a hand: one that reaches the files of the session and has room (rule 22)."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Provisioned
from holdfast.bus.errors import NoResponders
from holdfast.bus.head import PRIMARY_THREAD
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.harness.tools.hand_client import HandClient
from holdfast.harness.tools.tool_calls import DECLINED_TIMEOUT_S, ToolCalls
from holdfast.sandbox.placement import BUCKET, Placement, placement_of
from holdfast.testing.contracts.fixtures import Connect
from holdfast.testing.contracts.hands import HandSession
from holdfast.testing.eventually import eventually
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.simulation import virtual_time
from tests.support.clock import ClockDriver, hand_worker
from tests.support.clock_tools import CLOCK


async def begun(bus: Bus) -> HandSession:
    """A new session."""
    session = HandSession(bus, Key("acme", new_session_id()), CLOCK)
    await session.begin()
    return session


async def asked(session: HandSession) -> Provisioned:
    """The reply that the harness gets: it asks the workers that a worker names when it declines."""
    return await HandClient(session.bus, session.key).provision(CLOCK, log_seq=session.seq)


async def placement(session: HandSession) -> Placement:
    entry = await session.bus.kv.get(BUCKET, subjects.placement_key(session.key, CLOCK))
    return placement_of(entry.value if entry else None)


async def test_a_full_worker_declines_and_another_one_takes_the_session(joined: Connect) -> None:
    bus = await joined("test")
    async with (
        hand_worker(await joined("a"), ClockDriver(), limit=2),
        hand_worker(await joined("b"), ClockDriver(), limit=3),
    ):
        sessions = [await begun(bus) for _ in range(5)]
        replies = [await asked(session) for session in sessions]
        workers = [reply.worker for reply in replies]
        assert sorted(workers.count(worker) for worker in set(workers)) == [2, 3]
        assert [reply.error for reply in replies] == [""] * 5

        sixth = await begun(bus)
        declined = await asked(sixth)
        assert (declined.error, declined.declined, declined.generation) == ("clock_capacity", True, "")
        assert "try again later" in declined.message
        assert await placement(sixth) == Placement()
        again = await asked(sessions[0])
        assert again.generation == replies[0].generation, "a full worker answers for the hands that there are"

        await sessions[1].release()

        async def taken() -> bool:
            return not (await asked(sixth)).error

        await eventually(taken, within=5, what="the place that became free is used")


@contextlib.asynccontextmanager
async def two_hosts(joined: Connect) -> AsyncIterator[tuple[HandSession, contextlib.AsyncExitStack]]:
    """A session with files on the host `one`. The stack ends the worker there; that of the host `two` stays."""
    bus = await joined("test")
    async with contextlib.AsyncExitStack() as one:
        await one.enter_async_context(hand_worker(await joined("a"), ClockDriver(host="one")))
        session = await begun(bus)
        await session.bind()
        async with hand_worker(await joined("b"), ClockDriver(host="two")):
            yield session, one


async def test_a_session_goes_back_to_the_host_with_its_files(joined: Connect) -> None:
    async with two_hosts(joined) as (session, _):
        before = session.bound
        await session.release()
        assert (await placement(session)).host == "one", "the host is known when the generation is gone"
        for _ in range(8):  # a request goes to any of the two workers
            reply = await asked(session)
            assert (reply.worker, reply.error) == (before.worker, "")
            assert reply.generation != before.generation
            await session.release()


async def test_a_foreign_host_refuses_while_the_host_with_the_files_is_away(joined: Connect) -> None:
    async with two_hosts(joined) as (session, one):
        await one.aclose()
        reply = await asked(session)
        assert (reply.error, reply.declined, reply.ask) == ("clock_elsewhere", True, ())
        assert reply.message == ClockDriver.elsewhere
        assert (await placement(session)).host == "one"
        other = await begun(session.bus)
        assert not (await asked(other)).error, "a session without files goes anywhere"

        async with hand_worker(await joined("a2"), ClockDriver(host="one")):
            assert not (await asked(session)).error


async def test_a_session_whose_files_were_removed_goes_anywhere(joined: Connect) -> None:
    async with two_hosts(joined) as (session, one):
        await session.release(files=True)

        async def forgotten() -> bool:
            return await placement(session) == Placement()

        await eventually(forgotten, within=5, what="the host forgets the session")
        await one.aclose()
        assert not (await asked(session)).error


async def test_a_worker_that_ends_is_not_asked(joined: Connect) -> None:
    bus = await joined("test")
    session = await begun(bus)
    async with hand_worker(await joined("a"), ClockDriver()):
        assert not (await asked(session)).error
    with pytest.raises(NoResponders):
        await asked(session)


def test_calls_get_an_error_result_when_no_worker_has_room_in_time() -> None:
    """In virtual time: the harness asks again and again for DECLINED_TIMEOUT_S, and no call of the session is lost."""

    async def main() -> None:
        server = MemoryServer()
        bus = MemoryBus(server, "test")
        async with hand_worker(MemoryBus(server, "a"), ClockDriver(), limit=1) as report:
            first, second = await begun(bus), await begun(bus)
            await first.bind()
            use = ev.AgentToolUse(id=new_id("sevt"), name="now", input={}, hand=CLOCK)
            await second.append(use)
            calls = ToolCalls(HandClient(bus, second.key), hold=0)
            assert second.last is not None
            began_at = server.now()
            (result,) = await calls.provide(second.last, PRIMARY_THREAD)
            assert isinstance(result, ev.AgentToolResult)
            assert (result.tool_use_id, result.is_error) == (use.id, True)
            assert result.content is not None
            assert result.content[0]["text"].startswith("clock_capacity: ")
            assert DECLINED_TIMEOUT_S <= server.now() - began_at <= DECLINED_TIMEOUT_S + 5
            assert report.notes["capacity"] == "full: 1 sandboxes (HOLDFAST_MAX_SANDBOXES)"

            await first.release()
            (bound,) = await calls.provide(second.last, PRIMARY_THREAD)
            assert isinstance(bound, ev.HandBound)
            assert report.notes["capacity"] == ""

    virtual_time.run(main, lambda _task, _context: None)
