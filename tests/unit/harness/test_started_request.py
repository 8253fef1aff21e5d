"""Model requests beside the append of their start: dropped if it is refused, read by nobody before it is stored."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from holdfast.bus import events as ev
from holdfast.bus.head import PRIMARY_THREAD
from holdfast.bus.ids import new_id
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.models.interface import BlockStart, Piece, Request, Response
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.appender import HeadMoved
from holdfast.harness.turn.replica import Replica
from holdfast.harness.turn.started_request import RequestsBeside, StartedRequest
from holdfast.process.model_catalogue import load_catalogue
from holdfast.testing.faults import Faults
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.unit.harness.heads import CONFIG, said


class CountingModel:
    """Yields two pieces, and counts what was read and which connections were closed."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.asked = asyncio.Event()
        self.read = 0
        self.closed = 0

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        self.requests.append(request)
        self.asked.set()
        try:
            yield BlockStart(0, "text")
            self.read += 1
            yield Response([{"type": "text", "text": "done"}], "end_turn", ev.ModelUsage())
            self.read += 1
        finally:
            self.closed += 1

    async def close(self) -> None:
        """Nothing is open."""


def replica_of(model: CountingModel) -> Replica:
    return Replica(
        bus=MemoryBus(MemoryServer(Faults())),
        model=model,
        settings=HarnessSettings(),
        catalogue=load_catalogue(),
        name="one",
        now=lambda: 2,
        draining=asyncio.Event(),
    )


def start() -> ev.ModelRequestStart:
    return ev.ModelRequestStart(id=new_id("sevt"))


def sent(beside: RequestsBeside, contexts: Contexts, text: str = "hello") -> StartedRequest:
    beside.send({PRIMARY_THREAD: start()}, [said(text)], config=CONFIG, contexts=contexts)
    return beside.requests[PRIMARY_THREAD]


async def test_the_request_is_sent_before_its_append_is_known_and_read_after_it() -> None:
    model, contexts = CountingModel(), Contexts()
    async with RequestsBeside(replica_of(model)) as beside:
        started = sent(beside, contexts)
        await model.asked.wait()
        assert "hello" in str(model.requests[0].messages)
        assert not contexts.thread(PRIMARY_THREAD).items, "the log does not have it yet"
    assert model.read == 0
    pieces = [piece async for piece in beside.requests[PRIMARY_THREAD].pieces()]
    assert [type(p) for p in pieces] == [BlockStart, Response]
    await started.close()
    assert model.closed == 1


async def test_a_request_whose_start_was_refused_is_closed_unread_and_counted() -> None:
    model = CountingModel()
    replica = replica_of(model)

    beside = RequestsBeside(replica)

    async def refused() -> None:
        async with beside:
            sent(beside, Contexts())
            await model.asked.wait()
            raise HeadMoved

    with pytest.raises(HeadMoved):
        await refused()
    assert not beside.requests
    assert (model.closed, model.read, replica.dropped.count) == (1, 0, 1)


async def test_an_append_that_is_made_again_has_a_new_request() -> None:
    model = CountingModel()
    replica = replica_of(model)
    async with RequestsBeside(replica) as beside:
        first = sent(beside, Contexts())
        await model.asked.wait()
        second = sent(beside, Contexts(), "hello again")
    assert beside.requests == {PRIMARY_THREAD: second}
    assert first.start.id != second.start.id
    assert (model.closed, replica.dropped.count) == (1, 1)
    assert [piece async for piece in second.pieces()]
    assert "hello again" in str(model.requests[1].messages)
    await second.close()


async def test_a_request_that_was_dropped_before_it_was_sent_is_never_sent() -> None:
    model = CountingModel()
    async with RequestsBeside(replica_of(model)) as beside:
        started = sent(beside, Contexts())
    await started.drop()
    await asyncio.sleep(0)
    assert not model.requests
