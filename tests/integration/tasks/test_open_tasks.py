"""A binding lets in only so many tasks at once; the others wait in the queue and start in order (rules 38 and 39)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from anthropic import Anthropic
from msgspec.structs import replace
from nats.aio.client import Client

from holdfast.bus.jetstream.client import NatsBus
from holdfast.process import clock
from holdfast.session.agents.store import AgentStore
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.repository import SessionRepository
from holdfast.session.tasks.gate import Gate, Message, Place
from holdfast.session.tasks.gates import Gates
from holdfast.session.tasks.open_places import SWEEP_AGE_US, OpenPlaces
from holdfast.session.tasks.record import TaskRecord
from holdfast.session.tasks.records import TaskRecords
from holdfast.session.tasks.task_ids import task_id
from holdfast.session.tasks.task_session import TaskSessions
from tests.integration.tasks.test_tasks import end
from tests.support.edge import SessionService, replica
from tests.support.eventually import eventually
from tests.support.tasks import died, messages_of, sessions_of, started

WOKEN_WITHIN_S = 8
"""Less than the pause of a task in line: who starts within it was woken."""


async def publish(client: Client, kind: str, n: int, **headers: str) -> None:
    named = {"Nats-Msg-Id": f"{kind}-{n}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    await client.jetstream().publish(f"task.default.{kind}", json.dumps({"what": str(n)}).encode(), headers=named)


async def gate_of(bus: NatsBus, kind: str) -> Gate:
    return (await Gates(bus.kv).all()).get(("default", kind), Gate())


def shown(http: httpx.Client, task: str) -> dict[str, Any]:
    """The task as the API shows it; empty if it is not known."""
    answer = http.get(f"/v1/tasks/{task}")
    return answer.json() if answer.status_code == 200 else {}


def resend(http: httpx.Client, task: str) -> int:
    """The status of the answer."""
    return http.post(f"/v1/tasks/{task}/resend").status_code


async def queued(bus: NatsBus, kind: str, count: int) -> Gate:
    """Wait until that many tasks of the kind wait in line."""

    async def look() -> Gate | None:
        gate = await gate_of(bus, kind)
        return gate if len(gate.line) == count else None

    found = await eventually(look, what=f"{count} tasks of {kind} in line", within=20)
    assert found
    return found


def numbers(sync: Anthropic, kind: str) -> list[int]:
    """The tasks whose sessions have got them."""
    return sorted(int(text[3:-1]) for session in sessions_of(sync, kind) for text in messages_of(sync, session.id))


async def test_those_beyond_the_limit_wait_and_start_in_order(
    edge: SessionService, publisher: Client, sync: Anthropic, bind: Any, tmp_path: Path
) -> None:
    """Two replicas; task 2 is a batch task, so it is the last."""
    with replica(edge, tmp_path):
        async with edge.bus() as bus:
            bind("few", max_open=2)
            for n in range(2):
                await publish(publisher, "few", n)
            await started(sync, "few", 2)
            for n in range(2, 6):
                await publish(publisher, "few", n, **({"Holdfast_Priority": "batch"} if n == 2 else {}))
            gate = await queued(bus, "few", 4)
            assert [message.batch for message in gate.line] == [False, False, False, True]
            assert len(gate.open) == 2
            begun = numbers(sync, "few")
            assert len(begun) == 2
            ended: set[str] = set()
            while len(begun) < 6:
                waiting = [n for n in (0, 1, 3, 4, 5, 2) if n not in begun]
                oldest = next(s.id for s in sessions_of(sync, "few") if s.id not in ended)
                ended.add(oldest)
                await end(bus, oldest)

                async def next_one(before: int = len(begun)) -> bool:
                    return len((await gate_of(bus, "few")).line) == 5 - before

                await eventually(next_one, what="the next task is let in", within=WOKEN_WITHIN_S)
                begun = sorted({*begun, waiting[0]})
                await wait_for_message(sync, "few", waiting[0])
                assert len((await gate_of(bus, "few")).open) == 2


async def wait_for_message(sync: Anthropic, kind: str, n: int) -> None:
    async def look() -> bool:
        return n in await asyncio.to_thread(numbers, sync, kind)

    await eventually(look, what=f"task {n}", within=WOKEN_WITHIN_S)


async def test_a_flood_of_a_bound_kind_makes_as_many_sessions_as_it_may(
    edge: SessionService, publisher: Client, sync: Anthropic, bind: Any, http: httpx.Client
) -> None:
    """All of them are known: those with a place, those in line, and the last one, which is not even in line."""
    bind("flooded", max_open=3)
    bind("other")
    stream = publisher.jetstream()
    for n in range(499):
        await stream.publish("task.default.flooded", json.dumps({"what": str(n)}).encode())
    await publish(publisher, "flooded", 499)
    await publish(publisher, "other", 1)
    await started(sync, "other")
    async with edge.bus() as bus:
        gate = await queued(bus, "flooded", 200)
        assert len(gate.open) == 3
        records = await bus.kv.list("tasks", "t.default.>")
        of_kind = [entry for entry in records if entry.value and b'"flooded"' in entry.value]
        assert len(of_kind) == 3, "a task that waits has no record"
    assert len(sessions_of(sync, "flooded")) == 3
    last = task_id("default", "flooded", '["name","flooded-499"]')
    assert last not in {message.task for message in gate.line}

    async def waits() -> bool:
        return bool(shown(http, last))

    await eventually(waits, what="the last task is delivered")
    for task in (gate.line[0].task, last):
        found = shown(http, task)
        assert (found["id"], found["kind"], found["state"], found["session_id"]) == (task, "flooded", "waiting", None)
        assert resend(http, task) == 409
    assert shown(http, gate.open[0].task)["state"] == "done"
    assert not shown(http, task_id("default", "flooded", "x"))


async def test_a_lower_limit_ends_nothing_and_a_higher_one_lets_more_in(
    edge: SessionService, publisher: Client, sync: Anthropic, bind: Any, http: httpx.Client
) -> None:
    def change(most: int) -> int:
        return http.post("/v1/bindings/moved", json={"max_open": most}).json()["max_open"]

    bind("moved", max_open=3)
    for n in range(5):
        await publish(publisher, "moved", n)
    async with edge.bus() as bus:
        await queued(bus, "moved", 2)
        assert change(1) == 1
        await end(bus, sessions_of(sync, "moved")[0].id)

        async def left() -> bool:
            return len((await gate_of(bus, "moved")).open) == 2

        await eventually(left, what="one place less", within=20)
        assert change(5) == 5
        await publish(publisher, "moved", 5)  # who comes tells its replica that there are more places
        await started(sync, "moved", 5)  # and the one that was deleted
        assert len((await gate_of(bus, "moved")).line) == 0


async def test_the_priority_goes_with_a_task_that_is_handed_over_or_sent_again(
    edge: SessionService, publisher: Client, sync: Anthropic, bind: Any, http: httpx.Client
) -> None:
    def post(path: str, body: Any = None, **headers: str) -> None:
        answer = http.post(path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text

    await publish(publisher, "later", 0, Holdfast_Priority="batch")
    (dead,) = await died(http, "later")
    for kind in ("handed", "later"):
        bind(kind, max_open=1)
        post(f"/v1/tasks/{kind}", {"what": "it"})
        await started(sync, kind)
    post("/v1/tasks/handed", {"what": "it"}, **{"holdfast-priority": "batch"})
    post(f"/v1/tasks/{dead['id']}/resend")
    async with edge.bus() as bus:
        for kind in ("handed", "later"):
            gate = await queued(bus, kind, 1)
            assert gate.line[0].batch, kind
    again = shown(http, dead["id"])
    assert (again["state"], again["reason"]) == ("waiting", None)


@pytest.fixture
async def places(edge: SessionService, tmp_path: Path) -> Any:
    """The sweep of a process that comes a minute later."""
    async with edge.bus() as bus:
        sessions = SessionRepository(bus, ReadModel(tmp_path / "x.sqlite", ("a0",)), cells=("a0",), now=clock.now)
        carried_out = TaskSessions(sessions, AgentStore(bus.kv), EnvironmentStore(bus.kv))
        gates = Gates(bus.kv)
        yield OpenPlaces(gates, TaskRecords(bus.kv), carried_out, bus.tasks, lambda: clock.now() + SWEEP_AGE_US + 1)
        sessions.read_model.close()


async def test_the_sweep_gives_free_what_a_dead_process_had(
    edge: SessionService, publisher: Client, sync: Anthropic, bind: Any, places: OpenPlaces
) -> None:
    bind("swept", max_open=2)
    await publish(publisher, "swept", 0)
    (first,) = await started(sync, "swept")
    gone = Message(False, clock.now() * 1000, 1_000_000, "task_of_a_dead_process")
    async with edge.bus() as bus:
        gates = Gates(bus.kv)
        left = Place(gone, clock.now())
        early = Message(False, 1, 1_000_001, "task_x")

        def add(gate: Gate) -> tuple[Gate, None]:
            return Gate(open=(*gate.open, left), line=(early,)), None

        await gates.change(("default", "swept"), add)
        await publish(publisher, "swept", 1)
        await queued(bus, "swept", 2)
        await places.sweep_once()
        assert task_id("default", "swept", '["name","swept-0"]') in {
            place.task for place in (await gate_of(bus, "swept")).open
        }, "its turn has not ended"
        await started(sync, "swept", 2)
        await end(bus, first.id)

        async def one_left() -> bool:
            await places.sweep_once()
            return len((await gate_of(bus, "swept")).open) == 1

        await eventually(one_left, what="the place of the ended session", within=20)


async def test_a_place_stays_for_a_message_that_opens_a_dead_task_again(
    edge: SessionService, publisher: Client, sync: Anthropic, bind: Any, places: OpenPlaces
) -> None:
    """Between the gate and the record the task is dead still, by its older message."""
    kind = ("default", "reopened")
    bind("reopened", max_open=1)
    await publish(publisher, "reopened", 0)
    await started(sync, "reopened")
    await publish(publisher, "reopened", 1)
    async with edge.bus() as bus:
        gate = await queued(bus, "reopened", 1)
        newer = gate.line[0]
        task = newer.task
        records = TaskRecords(bus.kv)
        dead = TaskRecord(kind="reopened", state="dead", died_ns=newer.stored_ns - 1)
        revision = await records.write("default", task, dead, 0)
        let_in = Place(newer, clock.now())
        await Gates(bus.kv).change(kind, lambda gate: (Gate(open=(*gate.open, let_in), line=()), None))
        assert await places.sweep_once() == 0
        assert (await gate_of(bus, "reopened")).has(task)
        await records.write("default", task, replace(dead, died_ns=newer.stored_ns), revision)
        assert await places.sweep_once() == 1
        assert not (await gate_of(bus, "reopened")).has(task)


async def test_many_changes_of_two_processes_lose_none(edge: SessionService) -> None:
    """Each process writes its changes together, and both write the same key."""
    kind = ("default", "counted")
    async with edge.bus() as one, edge.bus() as two:
        both = (Gates(one.kv), Gates(two.kv))

        def adding(n: int) -> Callable[[Gate], tuple[Gate, int]]:
            place = Place(Message(False, n, n, f"task_{n}"), 1)
            return lambda gate: (Gate(open=(*gate.open, place), line=gate.line), n)

        changes: list[Awaitable[int]] = [both[n % 2].change(kind, adding(n)) for n in range(200)]
        assert await asyncio.gather(*changes) == list(range(200))
        opened = [place.task for place in (await gate_of(one, "counted")).open]
        assert sorted(opened) == sorted(f"task_{n}" for n in range(200))
