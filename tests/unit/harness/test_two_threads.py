"""Two threads of one session under one claim: neither holds the other up, and the last one at rest gives the claim up.

In virtual time, over the bus in memory. A child thread comes to be by an input for it.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from holdfast.bus import events as ev
from holdfast.bus.head import PRIMARY_THREAD, Head
from holdfast.bus.ids import Key, new_id
from holdfast.bus.inputs import ClientInput
from tests.unit.harness.place import RESPONSE_S, Place, run

CHILD = "sthr_2"


def said(text: str, thread: str = PRIMARY_THREAD) -> ClientInput:
    message = ev.UserMessage(id=new_id("sevt"), thread=thread, content=[{"type": "text", "text": text}])
    return ClientInput(id=new_id("in"), events=[message])


def stopped(thread: str | None) -> ClientInput:
    """An interrupt of that thread; of the session if it is None."""
    named = thread or "sthr_1" if thread is not None else None
    interrupt = ev.UserInterrupt(id=new_id("sevt"), thread=thread or PRIMARY_THREAD, session_thread_id=named)
    return ClientInput(id=new_id("in"), events=[interrupt])


def of(thread: str) -> Callable[[Any], bool]:
    return lambda event: event.thread == thread


async def head_of(place: Place, key: Key) -> Head:
    stored = await place.bus.log.head(key)
    assert stored is not None
    return stored.commit.head


def now() -> float:
    return asyncio.get_running_loop().time()


async def both_ask(place: Place) -> Key:
    """A session whose two threads have each a slow model request in flight."""
    key = await place.session()
    await place.bus.inbox.put(key, said("slow"))
    await asyncio.sleep(1)
    await place.bus.inbox.put(key, said("slow too", CHILD))
    await asyncio.sleep(1)
    head = await head_of(place, key)
    assert [bool(head.thread(t).request) for t in (PRIMARY_THREAD, CHILD)] == [True, True]
    return key


def test_a_slow_response_of_one_thread_does_not_hold_up_the_other() -> None:
    async def main() -> tuple[float, float, list[str], Head]:
        place = Place()
        key = await place.session()
        await place.bus.inbox.put(key, said("slow"))
        await asyncio.sleep(1)
        began = now()
        await place.bus.inbox.put(key, said("quick", CHILD))
        child = await place.until(key, ev.ThreadStatusIdle, of(CHILD)) - began
        between = await head_of(place, key)
        assert between.claim is not None, "the claim is kept while a thread has work"
        assert between.status == "running"
        session = await place.idle_at(key)
        await asyncio.sleep(1)
        kinds = [ev.type_of(e) for e in await place.events(key)]
        head = await head_of(place, key)
        await place.close()
        return child, session, kinds, head

    child, session, kinds, head = run(main)
    assert child < 0.1
    assert session >= RESPONSE_S
    assert kinds.count("session.status_running") == kinds.count("session.status_idle") == 1
    assert kinds.count("session.thread_status_idle") == 2
    assert kinds.count("span.model_request_start") == 2, "no request was made twice"
    assert (head.claim, head.status) == (None, "idle")


def test_each_thread_has_a_conversation_of_its_own() -> None:
    async def main() -> list[str]:
        place = Place()
        key = await place.session()
        for text, thread in (("quick one", PRIMARY_THREAD), ("quick two", CHILD), ("quick three", PRIMARY_THREAD)):
            await place.bus.inbox.put(key, said(text, thread))
            await place.idle_at(key)
            await asyncio.sleep(5)
        await place.close()
        return place.model.requests

    first, second, third = run(main)
    assert ("one" in first, "two" in second, "one" in second) == (True, True, False)
    assert ("one" in third, "two" in third, "three" in third) == (True, False, True)


def test_an_interrupt_of_one_thread_leaves_the_request_of_the_other() -> None:
    async def main() -> tuple[float, Head, float]:
        place = Place()
        key = await both_ask(place)
        began = now()
        await place.bus.inbox.put(key, stopped(CHILD))
        child = await place.until(key, ev.ThreadStatusIdle, of(CHILD)) - began
        head = await head_of(place, key)
        done = await place.idle_at(key)
        ends = [(e.thread, e.stop) for e in await place.events(key) if isinstance(e, ev.ModelRequestEnd)]
        assert ends == [(CHILD, "interrupted"), (PRIMARY_THREAD, "end_turn")]
        await place.close()
        return child, head, done

    child, head, done = run(main)
    assert child < 0.5
    assert (bool(head.primary.request), head.status) == (True, "running")
    assert done >= RESPONSE_S


def test_an_interrupt_that_names_no_thread_stops_both() -> None:
    async def main() -> tuple[float, list[tuple[str, str]]]:
        place = Place()
        key = await both_ask(place)
        began = now()
        await place.bus.inbox.put(key, stopped(None))
        took = await place.idle_at(key) - began
        ends = [(e.thread, e.stop) for e in await place.events(key) if isinstance(e, ev.ModelRequestEnd)]
        await place.close()
        return took, ends

    took, ends = run(main)
    assert took < 0.5
    assert sorted(ends) == [(PRIMARY_THREAD, "interrupted"), (CHILD, "interrupted")]


def test_a_gap_is_looked_at_for_the_interrupts_of_both_threads() -> None:
    """The first thread that reads the inbox forgets the gap; the other one must look too."""

    async def main(thread: str) -> float:
        place = Place()
        key = await both_ask(place)
        began = now()
        place.faults.deaf = True
        await place.bus.inbox.put(key, stopped(thread))
        place.faults.deaf = False
        await place.bus.inbox.put(key, said("later"))
        took = await place.until(key, ev.ThreadStatusIdle, of(thread)) - began
        await place.close()
        return took

    assert run(lambda: main(PRIMARY_THREAD)) < 0.5
    assert run(lambda: main(CHILD)) < 0.5


def test_a_message_to_a_thread_that_is_asking_waits_and_is_answered_afterwards() -> None:
    async def main() -> tuple[list[str], int, list[str]]:
        place = Place()
        key = await both_ask(place)
        before = place.faults.reads
        for number in range(20):
            await place.bus.inbox.put(key, said(f"quick {number}", CHILD))
        await asyncio.sleep(5)
        taken = [e.id for e in await place.events(key) if isinstance(e, ev.UserMessage)]
        reads = place.faults.reads - before
        await place.idle_at(key)
        await place.close()
        return taken, reads, place.model.requests

    taken, reads, requests = run(main)
    assert len(taken) == 2, "the messages were left in the inbox"
    assert reads <= 2, "they are not read again and again"
    assert [f"quick {n}" in requests[-1] for n in range(20)] == [True] * 20


def test_a_message_that_was_taken_beside_a_request_is_answered_by_the_next_one() -> None:
    """An input for a thread at rest takes those before it along, also to a thread that is asking."""

    async def main() -> tuple[list[str], list[str], Head]:
        place = Place()
        key = await place.session()
        await place.bus.inbox.put(key, said("slow"))
        await asyncio.sleep(1)
        await place.bus.inbox.put(key, said("quick, in between"))
        await place.bus.inbox.put(key, said("quick", CHILD))
        await place.until(key, ev.ThreadStatusIdle, of(CHILD))
        taken = [e.id for e in await place.events(key) if isinstance(e, ev.UserMessage)]
        await place.idle_at(key)
        missed = [i for e in await place.events(key) if isinstance(e, ev.ModelRequestEnd) for i in e.missed]
        assert missed == taken[1:2]
        head = await head_of(place, key)
        await place.close()
        return taken, place.model.requests, head

    taken, requests, head = run(main)
    assert len(taken) == 3
    assert "in between" in requests[-1]
    assert not any(thread.todo for thread in head.threads.values())
