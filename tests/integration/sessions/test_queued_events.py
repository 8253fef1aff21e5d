"""The list of events shows what was sent and is not taken yet, through the official SDK, page by page.

No harness runs here: the test takes the inputs, and writes the log that one would.
"""

from typing import Any

import pytest
from anthropic import AsyncAnthropic

from holdfast.bus.ids import Key
from tests.support.edge import SessionService
from tests.support.session_log import SessionLog
from tests.support.session_requests import SAY, list_events


async def sends(client: AsyncAnthropic, session: str, count: int, *, at_once: int = 1) -> list[str]:
    """Send that many messages, `at_once` in each request. Returns their ids."""
    found: list[str] = []
    for _ in range(0, count, at_once):
        sent = await client.beta.sessions.events.send(session, events=[SAY] * at_once)  # type: ignore[list-item]
        found += [event.id for event in sent.data or []]
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_what_is_queued_stands_behind_the_log_and_has_no_time(
    client: AsyncAnthropic, log: SessionLog, session: str, limit: int
) -> None:
    logged = [await log.says(str(n)) for n in range(3)]
    queued = await sends(client, session, 6, at_once=2)
    found = await list_events(client, session, limit=limit)
    assert [e.id for e in found] == [*logged, *queued]
    assert [e.processed_at is None for e in found] == [False] * 3 + [True] * 6
    assert found[-1].content[0].text == "hi"
    newest = await list_events(client, session, limit=limit, order="desc")
    assert [e.id for e in newest] == [*logged, *queued][::-1]
    only = await list_events(client, session, limit=limit, types=["user.message"])
    assert [e.id for e in only] == queued
    assert await list_events(client, session, limit=limit, types=["user.interrupt"]) == []
    at = found[0].processed_at
    assert [e.id for e in await list_events(client, session, limit=limit, created_at_gte=at)] == logged
    assert await log.takes(3) == queued
    assert [e.processed_at is None for e in await list_events(client, session, limit=limit)] == [False] * 9


async def pages(client: AsyncAnthropic, session: str, between: Any, **more: Any) -> list[str]:
    """The ids of all pages; `between` is awaited behind each one with its number."""
    found: list[str] = []
    page = await client.beta.sessions.events.list(session, **more)
    for number in range(50):
        found += [event.id for event in page.data]
        await between(number)
        if not page.has_next_page():
            return found
        page = await page.get_next_page()
    raise AssertionError("a list has an end")


@pytest.mark.parametrize("takes", [1, 3, 5])
@pytest.mark.parametrize("taken_at", range(6))
async def test_no_event_is_left_out_or_shown_twice_when_it_is_taken_between_two_pages(
    client: AsyncAnthropic, log: SessionLog, session: str, takes: int, taken_at: int
) -> None:
    first = await log.says("first")
    queued = await sends(client, session, 5)
    answers: list[str] = []

    async def between(page: int) -> None:
        if page == taken_at:
            await log.takes(takes)
            answers.append(await log.says("an answer"))

    found = await pages(client, session, between, limit=1)
    # What is shown queued and is then taken is not shown again; what was appended behind the cursor is shown.
    assert [e for e in found if e not in answers] == [first, *queued]
    assert len(found) == len(set(found))
    if taken_at < len(queued):
        assert found.count(answers[0]) == 1


@pytest.mark.parametrize("taken_at", range(5))
async def test_backwards_too(client: AsyncAnthropic, log: SessionLog, session: str, taken_at: int) -> None:
    first = await log.says("first")
    queued = await sends(client, session, 4)

    answers: list[str] = []

    async def between(page: int) -> None:
        if page == taken_at:
            await log.takes(3)
            answers.append(await log.says("an answer"))

    found = await pages(client, session, between, limit=1, order="desc")
    assert [e for e in found if e not in answers] == [*queued[::-1], first]
    assert found.count(answers[0]) == (1 if taken_at == 0 else 0), "it stands before the last one that is queued"


async def test_an_event_that_is_stored_twice_is_shown_once(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    sent = await sends(client, session, 2)
    (waiting, _) = await log.bus.inbox.pending(log.key)
    await log.takes(2)
    await log.bus.inbox.put_again(log.key, waiting.data, "again")
    assert [e.id for e in await list_events(client, session)] == sent


async def test_the_result_of_a_custom_tool_is_processed_on_receipt(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    (call,) = await log.asks(custom=1)
    await client.beta.sessions.events.send(
        session, events=[{"type": "user.custom_tool_result", "custom_tool_use_id": call}]
    )
    last = (await list_events(client, session))[-1]
    assert last.type == "user.custom_tool_result"
    assert last.processed_at is not None


def sent_bytes(edge: SessionService) -> int:
    """Bytes that nats-server has sent to all its clients."""
    with edge.http() as http:
        return int(http.get(f"http://{edge.monitor}/varz").json()["out_bytes"])


async def test_a_short_page_of_a_long_log_reads_what_it_needs(
    edge: SessionService, client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    for n in range(300):
        await log.says(f"{n} ".ljust(4000, "x"))
    await log.says("large".ljust(3_000_000, "x"))
    for n in range(20):
        await log.says(f"{n} ".ljust(4000, "x"))
    await client.beta.sessions.list()  # the read model has caught up
    for more in ({}, {"order": "desc"}):
        before = sent_bytes(edge)
        page = await client.beta.sessions.events.list(session, limit=1, **more)  # type: ignore[arg-type]
        assert len(page.data) == 1
        assert sent_bytes(edge) - before < 60_000
        assert page.has_next_page()
    whole = await list_events(client, session)
    assert len(whole) == 321
    for limit in (1000, 100, 7):
        assert await list_events(client, session, limit=limit) == whole
        assert await list_events(client, session, limit=limit, order="desc") == whole[::-1]


async def test_many_large_events_that_wait_are_shown_page_by_page(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    text = {"type": "user.message", "content": [{"type": "text", "text": "x" * 3_000_000}]}
    ids: list[str] = []
    for _ in range(8):
        sent = await client.beta.sessions.events.send(session, events=[text])  # type: ignore[list-item]
        ids += [event.id for event in sent.data or []]
    assert log.key == Key("default", session)
    shown = [e.id for e in await list_events(client, session)]
    assert shown == ids[: len(shown)]
    assert len(shown) >= 5, "16 MiB of them"
    await log.takes(8)
    assert [e.id for e in await list_events(client, session)] == ids
