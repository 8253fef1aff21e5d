"""Session services die and freeze while they send webhooks: each event reaches the endpoint, in order."""

import asyncio
import contextlib
from collections.abc import Callable, Generator
from pathlib import Path

import psutil
import pytest

from tests.support.created_sessions import create_session
from tests.support.edge import SessionService, replica
from tests.support.eventually import eventually
from tests.support.public_events import all_published
from tests.support.session_log import SessionLog
from tests.support.webhooks import QUICK, Receiver, Webhooks, receiver, webhook_stack

pytestmark = pytest.mark.timeout(150)

TYPES = {"session.status_running", "session.status_idle"}


async def write(edge: SessionService, session: str, stop: asyncio.Event) -> None:
    """Turn after turn until `stop` is set, but at least one."""
    async with edge.bus() as bus:
        log = SessionLog(bus, session)
        while True:
            await log.running(claim=False)
            await log.idle()
            if stop.is_set():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.1)


async def more(endpoint: Receiver, count: int = 4) -> None:
    """Wait until the endpoint has got so many further events."""
    before = len(endpoint.ids())

    async def look() -> bool:
        return len(endpoint.ids()) >= before + count

    await eventually(look, what=f"{count} further events", within=25)


async def until(condition: Callable[[], bool], what: str) -> None:
    async def look() -> bool:
        return condition()

    await eventually(look, what=what, within=15)


def is_dead(service: SessionService) -> bool:
    try:
        return psutil.Process(service.pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def first(tmp_path: Path) -> Generator[SessionService]:
    """It dies after it has sent its third event and before it has recorded that."""
    with webhook_stack(tmp_path, {"HOLDFAST_FAULT": "webhook.sent:kill:3"}) as running:
        yield running


async def test_no_event_is_missed_whatever_dies(first: SessionService, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    session, stop, one_turn = create_session(first), asyncio.Event(), asyncio.Event()
    one_turn.set()
    with receiver() as endpoint:
        with first.http() as http:
            Webhooks(http).create(endpoint.url, events=["session.status_run_started", "session.status_idled"])
        await write(first, session, one_turn)
        await until(lambda: len(endpoint.ids()) == 2, "two events by the first one, which sends from now on")
        with replica(first, tmp_path / "second", QUICK) as second:
            await storm(first, second, endpoint, session, stop)


async def storm(
    first: SessionService, second: SessionService, endpoint: Receiver, session: str, stop: asyncio.Event
) -> None:
    writer = asyncio.create_task(write(first, session, stop))

    await until(lambda: is_dead(first), "dead after it sent and before it recorded that")
    repeated = endpoint.got[-1].id
    await more(endpoint)  # the second one goes on
    assert [request.id for request in endpoint.got].count(repeated) == 2

    await asyncio.to_thread(first.start_armed, "webhook.sending:stop:2")
    second.kill()
    await until(lambda: psutil.Process(first.pid).status() == psutil.STATUS_STOPPED, "frozen before it sends")
    await asyncio.to_thread(second.start)
    await more(endpoint)  # the second one goes on
    before = len(endpoint.got)
    first.thaw()
    await until(lambda: len({request.id for request in endpoint.got[before:]}) > 2, "more")

    first.nats.kill()
    await first.nats.start()
    await more(endpoint)
    stop.set()
    await writer
    async with first.bus() as bus:
        found = await all_published(bus, first.nats.url)
    wanted = ["whe_" + one.id.removeprefix("sevt_") for one in found if one.headers["ce-type"] in TYPES]
    await until(lambda: len(endpoint.ids()) >= len(wanted), "all events")
    assert endpoint.ids() == wanted
    repetitions = len(endpoint.got) - len(wanted)
    assert repetitions <= 6, "each fault repeats one attempt, or that of two replicas"
