"""Appends of several threads under one claim: one after the other, valid or refused, none after the end."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored, commit
from holdfast.bus.head import PRIMARY_THREAD, Claim, Head
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.appender import Appender, ClaimedSession, Draft, Fenced, HeadMoved, ThreadRun
from holdfast.harness.turn.replica import Replica
from holdfast.process.model_catalogue import load_catalogue
from holdfast.testing.faults import Faults
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.simulation import virtual_time
from tests.unit.harness.heads import CONFIG, said
from tests.unit.harness.place import SlowModel

CHILD = "sthr_2"
CLAIM = Claim(id="clm_1", by="one", trigger=0)


class Appends(Faults):
    """Counts the requests for an append."""

    def __init__(self) -> None:
        self.count = 0

    async def pause(self, process: str, operation: str) -> None:
        self.count += operation == "append"
        await super().pause(process, operation)


class Place:
    """A claimed session in memory, and its appender."""

    def __init__(self) -> None:
        self.faults = Appends()
        self.bus = MemoryBus(MemoryServer(self.faults))
        self.key = Key("acme", new_session_id())

    async def appender(self) -> Appender:
        made = commit(None, [CONFIG, said()], by="one", new_id=new_id, now=1, claim=CLAIM)
        last = Stored(await self.bus.log.append(self.key, made, 0), made)
        contexts = Contexts()
        contexts.fold(last)
        inbox = await self.bus.inbox.stream_epoch(self.key.cell)
        replica = Replica(
            bus=self.bus,
            model=SlowModel(),
            settings=HarnessSettings(),
            catalogue=load_catalogue(),
            name="one",
            now=lambda: 2,
            draining=asyncio.Event(),
        )
        session = ClaimedSession(key=self.key, inbox=inbox, claim=CLAIM, config=CONFIG, last=last, contexts=contexts)
        return Appender(replica, session)

    async def from_outside(self, *events: ev.Event, **fields: Any) -> None:
        """A commit of another process."""
        last = await self.bus.log.head(self.key, leader=True)
        assert last is not None
        made = commit(last, events, by="edge", new_id=new_id, now=2, **fields)
        await self.bus.log.append(self.key, made, last.seq)

    async def texts(self) -> list[str]:
        """What agents said, in the order of the log."""
        events = [e for s in await self.bus.log.read(self.key) for e in s.commit.events]
        return [e.content[0]["text"] for e in events if isinstance(e, ev.AgentMessage)]


def says(text: str, thread: str = PRIMARY_THREAD) -> Sequence[ev.Event]:
    return [ev.AgentMessage(id=new_id("sevt"), thread=thread, content=[{"type": "text", "text": text}])]


def updated() -> ev.Event:
    return ev.SessionUpdated(id=new_id("sevt"), title="new")


async def test_threads_append_one_after_the_other() -> None:
    place = Place()
    appender = await place.appender()
    one, two = ThreadRun(appender, PRIMARY_THREAD), ThreadRun(appender, CHILD)
    await asyncio.gather(*(run.append(says(f"{run.id}{n}", run.id)) for n in range(3) for run in (one, two)))
    assert sorted(await place.texts()) == sorted(["0", "1", "2", "sthr_20", "sthr_21", "sthr_22"])
    assert place.faults.count == 1 + 6, "no append was refused"


async def test_what_another_process_appends_is_folded_and_the_step_appended_after_it() -> None:
    place = Place()
    appender = await place.appender()
    run = ThreadRun(appender, PRIMARY_THREAD)
    run.begin_step()
    await place.from_outside(updated())
    await run.append(says("after it"))
    assert await place.texts() == ["after it"]
    assert appender.head.count == 4


async def test_a_step_is_refused_once_the_view_of_its_thread_has_changed() -> None:
    place = Place()
    appender = await place.appender()
    one, two = ThreadRun(appender, PRIMARY_THREAD), ThreadRun(appender, CHILD)
    one.begin_step()
    two.begin_step()
    await place.from_outside(ev.UserInterrupt(id="i", thread=CHILD))
    await one.append(says("not touched by it"))
    await place.from_outside(ev.UserMessage(id="u2", thread=CHILD, content=[]))
    with pytest.raises(HeadMoved):
        await two.append(says("decided before", CHILD))
    two.begin_step()
    await two.append(says("decided after", CHILD))
    assert await place.texts() == ["not touched by it", "decided after"]


async def test_a_response_is_appended_as_long_as_its_request_is_open() -> None:
    place = Place()
    appender = await place.appender()
    run, start = ThreadRun(appender, PRIMARY_THREAD), ev.ModelRequestStart(id="r1")
    run.begin_step()
    await run.append([start])
    await place.from_outside(ev.UserMessage(id="u2", content=[]))
    await run.append(says("the response"), request=start)
    end = ev.ModelRequestEnd(id="e", model_request_start_id="r1", model_usage=ev.ModelUsage(), is_error=True)
    await run.append([end], request=start)
    with pytest.raises(HeadMoved):
        await run.append(says("too late"), request=start)
    assert await place.texts() == ["the response"]


async def test_nothing_is_appended_after_the_claim_was_released() -> None:
    place = Place()
    appender = await place.appender()
    waits = asyncio.create_task(appender.append(lambda _: Draft(release=True)))
    late = asyncio.create_task(appender.append(lambda _: Draft(events=says("too late"))))
    await waits
    assert appender.released
    count = place.faults.count
    with pytest.raises(Fenced):
        await late
    assert (await place.texts(), place.faults.count) == ([], count)


async def test_nothing_is_appended_after_the_claim_was_found_lost() -> None:
    place = Place()
    appender = await place.appender()
    await place.from_outside(claim=replace(CLAIM, id="clm_2", by="two"))
    with pytest.raises(Fenced):
        await appender.append(lambda _: Draft(events=says("refused")))
    count = place.faults.count
    with pytest.raises(Fenced):
        await ThreadRun(appender, CHILD).append(says("too late", CHILD))
    assert (await place.texts(), place.faults.count) == ([], count)


async def test_a_draft_is_made_again_of_the_head_that_it_follows() -> None:
    place = Place()
    appender = await place.appender()
    counts: list[int] = []

    def make(head: Head) -> Draft:
        counts.append(head.count)
        return Draft(events=says(str(head.count)))

    await place.from_outside(updated())
    await appender.append(make, valid=lambda _: True)
    assert (counts, await place.texts()) == ([2, 3], ["3"])


def test_a_log_that_was_set_back_ends_the_runner() -> None:
    """Its appends would be refused for ever, and the session with its claim stay with it."""

    async def main() -> tuple[int, bool]:
        place = Place()
        appender = await place.appender()
        await appender.append(lambda _: Draft(events=says("lost")))
        lost = appender.last
        other = Place()
        other.key = place.key
        appender._bus = other.bus
        await other.appender()
        for attempt in range(2):
            with pytest.raises(Fenced):
                await appender.append(lambda _: Draft(events=says("again")))
            assert attempt or appender.last == lost
        return other.faults.count, await other.texts() == []

    requests, nothing = virtual_time.run(main, lambda _task, _context: None)
    assert nothing
    assert requests == 2, "the claim and one append"
