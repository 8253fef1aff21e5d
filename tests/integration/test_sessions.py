"""Sessions through the official SDK, on the real session service and a real log: G.2 points 2 and 23 to 30.

No harness runs here: where a session must be at work or wait for its client, the test writes the log that one would.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import pytest
from anthropic import Anthropic, AsyncAnthropic

from holdfast.bus import commands, subjects
from holdfast.bus import events as ev
from holdfast.bus.api import Message
from holdfast.bus.commits import commit
from holdfast.bus.head import Claim
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.inputs import ClientInput
from holdfast.bus.jetstream.client import NatsBus
from holdfast.process import clock
from holdfast.session.jobs.projector import follow
from holdfast.session.jobs.sweeper import sweep_once
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.repository import SessionRepository
from holdfast.session.settings import SessionSettings
from tests.support.edge import EdgeProcess, session_service
from tests.support.eventually import eventually
from tests.support.session_log import Log

SAY = {"type": "user.message", "content": [{"type": "text", "text": "hi"}]}
TOOL = {"type": "custom", "name": "mine", "description": "d", "input_schema": {"type": "object"}}


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[EdgeProcess]:
    folder = tmp_path_factory.mktemp("edge")
    with session_service(folder, {"HOLDFAST_SESSION_DATA": str(folder / "data")}) as running:
        yield running


@pytest.fixture(scope="module")
def sync(edge: EdgeProcess) -> Iterator[Anthropic]:
    with edge.client() as client:
        yield client


@pytest.fixture
async def client(edge: EdgeProcess) -> AsyncIterator[AsyncAnthropic]:
    async with edge.async_client(max_retries=0) as client:
        yield client


@pytest.fixture
async def bus(edge: EdgeProcess) -> AsyncIterator[NatsBus]:
    async with edge.bus() as bus:
        yield bus


@pytest.fixture(scope="module")
def agent(sync: Anthropic) -> str:
    return sync.beta.agents.create(model="m-1", name="a", system="be kind").id


@pytest.fixture(scope="module")
def environment(sync: Anthropic) -> str:
    return sync.beta.environments.create(name="e").id


@pytest.fixture
async def session(client: AsyncAnthropic, agent: str, environment: str) -> str:
    return (await client.beta.sessions.create(agent=agent, environment_id=environment)).id


async def events(client: AsyncAnthropic, session_id: str, **more: Any) -> list[Any]:
    return [e async for e in client.beta.sessions.events.list(session_id, **more)]


# --- create -------------------------------------------------------------------------------------------------------


def test_a_new_session_rests_and_keeps_the_agent_as_it_was(sync: Anthropic, environment: str) -> None:
    agent = sync.beta.agents.create(model="m-1", name="first", system="one")
    made = sync.beta.sessions.create(
        agent=agent.id, environment_id=environment, title="a title", metadata={"team": "red"}
    )
    assert made.id.startswith("sesn_")
    assert (made.status, made.title, made.metadata) == ("idle", "a title", {"team": "red"})
    assert (made.agent.id, made.agent.version, made.agent.system) == (agent.id, 1, "one")
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.cache_creation) == (0, 0, None)
    assert (made.resources, made.vault_ids, made.outcome_evaluations, made.archived_at) == ([], [], [], None)
    assert made.stats.active_seconds == 0
    sync.beta.agents.update(agent.id, system="two", name="second")
    again = sync.beta.sessions.retrieve(made.id)
    assert (again.agent.version, again.agent.system, again.agent.name) == (1, "one", "first")
    assert sync.beta.sessions.create(agent=agent.id, environment_id=environment).agent.version == 2
    pinned = sync.beta.sessions.create(
        agent={"type": "agent", "id": agent.id, "version": 1}, environment_id=environment
    )
    assert (pinned.agent.version, pinned.agent.system) == (1, "one")
    assert list(sync.beta.sessions.events.list(made.id)) == []


def test_overrides_hold_for_one_session_and_leave_the_agent_alone(sync: Anthropic, environment: str) -> None:
    agent = sync.beta.agents.create(
        model={"id": "m-1", "effort": "low"}, name="a", system="one", tools=[TOOL], description="d"
    )  # type: ignore[arg-type]

    def made(**overrides: Any) -> Any:
        chosen = {"type": "agent_with_overrides", "id": agent.id, **overrides}
        return sync.beta.sessions.create(agent=chosen, environment_id=environment).agent  # type: ignore[arg-type]

    assert made(system="two").system == "two"
    assert made(system=None).system is None
    assert made(tools=[]).tools == []
    assert [tool.name for tool in made().tools] == ["mine"]
    other = made(model={"id": "m-2", "effort": "max"})
    assert (other.model.id, other.model.effort.type) == ("m-2", "high"), "an overriding effort is not applied"
    assert (other.id, other.version) == (agent.id, 1)
    with pytest.raises(anthropic.BadRequestError, match="agent_model_required"):
        made(model=None)
    after = sync.beta.agents.retrieve(agent.id)
    assert (after.system, after.version) == ("one", 1)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"agent": "agent_unknown"}, (anthropic.NotFoundError, "agent")),
        ({"agent": {"type": "agent", "id": "AGENT", "version": 9}}, (anthropic.NotFoundError, "agent version")),
        ({"environment_id": "env_unknown"}, (anthropic.NotFoundError, "environment")),
        ({"environment_id": "a.b"}, (anthropic.NotFoundError, "environment")),
        ({"metadata": {"k": "v" * 513}}, (anthropic.BadRequestError, "metadata")),
        ({"metadata": {f"k{n}": "v" for n in range(17)}}, (anthropic.BadRequestError, "metadata")),
        ({"title": "t" * 501}, (anthropic.BadRequestError, "title")),
        ({"vault_ids": ["vlt_1"]}, (anthropic.BadRequestError, "vaults in sessions are not available")),
        ({"resources": [{"type": "file", "file_id": "file_1"}]}, (anthropic.BadRequestError, "not available")),
        (
            {"budget": {"type": "limit", "max_list_cost": {"amount": "1", "currency": "USD"}}},
            (anthropic.BadRequestError, "budgets are not available"),
        ),
        ({"extra_body": {"what": 1}}, (anthropic.BadRequestError, "what")),
    ],
)
def test_a_session_that_cannot_be_made_is_refused(
    sync: Anthropic, agent: str, environment: str, change: dict[str, Any], error: tuple[type[Exception], str]
) -> None:
    wanted: dict[str, Any] = {"agent": agent, "environment_id": environment, **change}
    if isinstance(wanted["agent"], dict):
        wanted["agent"]["id"] = agent
    with pytest.raises(error[0], match=error[1]):
        sync.beta.sessions.create(**wanted)


def test_archived_agents_and_environments_start_no_session(sync: Anthropic, agent: str, environment: str) -> None:
    old = sync.beta.agents.create(model="m-1", name="old")
    sync.beta.agents.archive(old.id)
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        sync.beta.sessions.create(agent=old.id, environment_id=environment)
    gone = sync.beta.environments.create(name="old")
    sync.beta.environments.archive(gone.id)
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        sync.beta.sessions.create(agent=agent, environment_id=gone.id)


async def test_initial_events_are_stored_as_one_input_before_the_answer(
    client: AsyncAnthropic, bus: NatsBus, agent: str, environment: str
) -> None:
    second = {"type": "user.message", "content": [{"type": "text", "text": "and this"}]}
    made = await client.beta.sessions.create(agent=agent, environment_id=environment, initial_events=[SAY, second])  # type: ignore[list-item]
    assert made.status == "running"
    assert (await client.beta.sessions.retrieve(made.id)).status == "running"
    (waiting,) = await bus.inbox.pending(Key("default", made.id), 0)
    assert isinstance(waiting.input, ClientInput)
    assert [e.content for e in waiting.input.events if isinstance(e, ev.UserMessage)] == [
        SAY["content"],
        second["content"],
    ]
    empty = await client.beta.sessions.create(agent=agent, environment_id=environment, initial_events=[])
    assert empty.status == "idle"


@pytest.mark.parametrize(
    "bad",
    [
        [SAY, {"type": "user.message", "content": [{"type": "text", "text": ""}]}],
        [SAY, {"type": "user.interrupt"}],
        [{"type": "system.message", "content": [{"type": "text", "text": "x"}]}],
        [{"type": "user.define_outcome", "description": "d", "rubric": {"type": "text", "content": "r"}}],
        [SAY] * 51,
    ],
)
async def test_a_bad_initial_event_creates_no_session(
    client: AsyncAnthropic, agent: str, environment: str, bad: list[Any]
) -> None:
    before = [s.id async for s in client.beta.sessions.list(include_archived=True, limit=100)]
    with pytest.raises(anthropic.BadRequestError, match="initial_events"):
        await client.beta.sessions.create(agent=agent, environment_id=environment, initial_events=bad)
    assert [s.id async for s in client.beta.sessions.list(include_archived=True, limit=100)] == before


# --- retrieve -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown", ["sesn_a0_unknown", "sesn_zz_x", "nothing", "agent_1", "a.b", "sesn_a0_>", "é"])
async def test_an_unknown_session_is_not_found_anywhere(client: AsyncAnthropic, unknown: str) -> None:
    sessions = client.beta.sessions
    for call in (
        sessions.retrieve(unknown),
        sessions.update(unknown, title="t"),
        sessions.archive(unknown),
        sessions.delete(unknown),
        sessions.events.send(unknown, events=[SAY]),  # type: ignore[list-item]
        events(client, unknown),
        sessions.events.stream(unknown),
    ):
        with pytest.raises(anthropic.NotFoundError) as caught:
            await call
        assert caught.value.type == "not_found_error"
        assert caught.value.request_id


async def test_a_session_of_another_tenant_is_not_found(client: AsyncAnthropic, bus: NatsBus) -> None:
    key = Key("other", new_session_id())
    config = ev.SessionConfig(
        id=new_id("sevt"), tenant="other", agent={"id": "x", "version": 1}, environment_id="e", environment={},
        primary_thread="sthr_1",
    )  # fmt: skip
    await bus.log.append(key, commit(None, [config], by="test", new_id=new_id, now=time.time_ns() // 1000), 0)
    with pytest.raises(anthropic.NotFoundError):
        await client.beta.sessions.retrieve(key.session)
    assert key.session not in [s.id async for s in client.beta.sessions.list(limit=100)]


async def test_a_configuration_too_large_for_a_commit_is_read_back(client: AsyncAnthropic, environment: str) -> None:
    tools = [{**TOOL, "name": f"t{n}", "description": "d" * 1000} for n in range(200)]
    agent = await client.beta.agents.create(model="m-1", name="large", system="s" * 100_000, tools=tools)  # type: ignore[arg-type]
    made = await client.beta.sessions.create(agent=agent.id, environment_id=environment)
    updated = await client.beta.sessions.update(made.id, title="t")
    assert updated.agent.system == "s" * 100_000
    assert len((await client.beta.sessions.retrieve(made.id)).agent.tools) == 200
    listed = {s.id: s async for s in client.beta.sessions.list(agent_id=agent.id)}
    assert listed[made.id].title == "t"


# --- list ---------------------------------------------------------------------------------------------------------


async def test_lists_filter_order_and_lead_both_ways(client: AsyncAnthropic, bus: NatsBus, environment: str) -> None:
    agent = await client.beta.agents.create(model="m-1", name="l")
    made = [
        (await client.beta.sessions.create(agent=agent.id, environment_id=environment, title=str(n))) for n in range(7)
    ]
    ids = [s.id for s in made]
    await Log(bus, ids[2]).running()
    await client.beta.sessions.archive(ids[5])

    async def found(**filters: Any) -> list[str]:
        return [s.id async for s in client.beta.sessions.list(agent_id=agent.id, **filters)]

    async def is_listed_as_running() -> bool:
        return await found(statuses=["running"]) == [ids[2]]

    await eventually(is_listed_as_running)
    assert await found(order="asc") == [i for i in ids if i != ids[5]]
    assert await found() == [i for i in reversed(ids) if i != ids[5]]
    assert await found(include_archived=True, limit=2) == ids[::-1]
    assert await found(statuses=["running", "idle"], order="asc", limit=3) == [i for i in ids if i != ids[5]]
    assert await found(statuses=["terminated"]) == [ids[5]]
    assert await found(statuses=["rescheduling"]) == []
    at = made[3].created_at
    assert await found(created_at_gt=at, order="asc") == [ids[4], ids[6]]
    assert await found(created_at_gte=at, order="asc") == [ids[3], ids[4], ids[6]]
    assert await found(created_at_lt=at, order="asc") == ids[:3]
    assert await found(created_at_lte=at, created_at_gt=made[1].created_at) == [ids[3], ids[2]]
    assert await found(agent_version=1, limit=1) == await found()
    assert await found(agent_version=2) == []

    for order in ("asc", "desc"):
        whole = await found(order=order, include_archived=True)
        first = await client.beta.sessions.list(agent_id=agent.id, order=order, include_archived=True, limit=3)  # type: ignore[arg-type]
        assert [s.id for s in first.data] == whole[:3]
        assert first.prev_page is None
        same: dict[str, Any] = {"agent_id": agent.id, "order": order, "include_archived": True, "limit": 3}
        second = await client.beta.sessions.list(page=first.next_page or "", **same)
        assert [s.id for s in second.data] == whole[3:6]
        third = await client.beta.sessions.list(page=second.next_page or "", **same)
        assert [s.id for s in third.data] == whole[6:]
        assert third.next_page is None
        back = await client.beta.sessions.list(page=third.prev_page or "", **same)
        assert [s.id for s in back.data] == whole[3:6], "going back keeps the order"
        again = await client.beta.sessions.list(page=back.prev_page or "", **same)
        assert [s.id for s in again.data] == whole[:3]
        assert again.prev_page is None
        onwards = await client.beta.sessions.list(page=again.next_page or "", **same)
        assert [s.id for s in onwards.data] == whole[3:6]
        with pytest.raises(anthropic.BadRequestError, match="page"):
            await client.beta.sessions.list(
                page=first.next_page or "", **{**same, "order": "desc" if order == "asc" else "asc"}
            )
        with pytest.raises(anthropic.BadRequestError, match="page"):
            await client.beta.sessions.list(page=first.next_page or "", **{**same, "agent_id": "agent_2"})


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=x", "order=up", "statuses[]=done", "page=page_1", "page=x",
        "created_at[gte]=soon", "agent_version=x", "unknown=1",
        "deployment_id=depl_1", "memory_store_id=memstore_1", "include_archived=maybe",
    ],
)  # fmt: skip
def test_a_wrong_filter_is_refused(edge: EdgeProcess, query: str) -> None:
    with edge.http() as http:
        answer = http.get(f"/v1/sessions?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_filters_are_taken_with_and_without_brackets(edge: EdgeProcess) -> None:
    with edge.http() as http:
        for query in ("statuses=idle&statuses=running", "statuses[]=idle&statuses[]=running", "beta=true"):
            assert http.get(f"/v1/sessions?{query}").status_code == 200


# --- update -------------------------------------------------------------------------------------------------------


async def test_an_update_is_told_with_only_what_changed(client: AsyncAnthropic, session: str) -> None:
    await client.beta.sessions.update(session, title="one")
    await client.beta.sessions.update(session, metadata={"a": "1", "b": "2"})
    await client.beta.sessions.update(session, metadata={"a": None, "c": "3"})
    await client.beta.sessions.update(session, title="one", metadata={"c": "3"})
    await client.beta.sessions.update(session, title=None)
    await client.beta.sessions.update(session, metadata={"b": None, "c": None})
    found = await client.beta.sessions.retrieve(session)
    assert (found.title, found.metadata) == (None, {})
    told = [e.to_dict() for e in await events(client, session)]
    assert [e["type"] for e in told] == ["session.updated"] * 5, "an update that changes nothing is not told"
    changed = [{k: v for k, v in e.items() if k not in ("id", "type", "processed_at")} for e in told]
    assert changed == [
        {"title": "one"},
        {"metadata": {"a": "1", "b": "2"}},
        {"metadata": {"b": "2", "c": "3"}},
        {"title": None},
        {},
    ]


async def test_tools_change_only_while_the_session_rests(client: AsyncAnthropic, bus: NatsBus, session: str) -> None:
    log = Log(bus, session)
    await log.running()
    with pytest.raises(anthropic.BadRequestError, match="running"):
        await client.beta.sessions.update(session, agent={"tools": [TOOL]})  # type: ignore[typeddict-item]
    assert (await client.beta.sessions.update(session, title="at work")).title == "at work"
    await log.idle()
    found = await client.beta.sessions.update(session, agent={"tools": [TOOL]})  # type: ignore[typeddict-item]
    assert [tool.name for tool in found.agent.tools] == ["mine"]  # type: ignore[union-attr]
    told = (await events(client, session, types=["session.updated"]))[-1]
    assert told.agent.system == "be kind"
    assert told.title is None
    with pytest.raises(anthropic.BadRequestError, match="bash"):
        await client.beta.sessions.update(session, agent={"tools": [{**TOOL, "name": "bash"}]})  # type: ignore[typeddict-item]
    with pytest.raises(anthropic.BadRequestError, match="vault_ids"):
        await client.beta.sessions.update(session, vault_ids=[])
    with pytest.raises(anthropic.BadRequestError, match="metadata"):
        await client.beta.sessions.update(session, metadata={f"k{n}": "v" for n in range(17)})


async def test_updates_hold_beside_a_harness_that_appends_all_the_time(
    client: AsyncAnthropic, bus: NatsBus, session: str
) -> None:
    log = Log(bus, session)
    await log.running()
    stop = asyncio.Event()

    async def work() -> int:
        said = 0
        while not stop.is_set():
            await log.says(str(said))
            said += 1
        return said

    working = asyncio.create_task(work())
    for n in range(20):
        assert (await client.beta.sessions.update(session, title=str(n), metadata={f"k{n % 3}": str(n)})).title == str(
            n
        )
    stop.set()
    said = await working
    assert said > 0
    found = await events(client, session)
    assert [e.title for e in found if e.type == "session.updated"] == [str(n) for n in range(20)]
    assert [e.content[0].text for e in found if e.type == "agent.message"] == [str(n) for n in range(said)]


# --- archive and delete -------------------------------------------------------------------------------------------


async def test_a_running_session_can_neither_be_archived_nor_deleted(
    client: AsyncAnthropic, bus: NatsBus, session: str
) -> None:
    log = Log(bus, session)
    await client.beta.sessions.events.send(session, events=[SAY])  # type: ignore[list-item]
    for refused in (client.beta.sessions.archive, client.beta.sessions.delete):
        with pytest.raises(anthropic.BadRequestError, match="running"):
            await refused(session)
    await log.running()
    for refused in (client.beta.sessions.archive, client.beta.sessions.delete):
        with pytest.raises(anthropic.BadRequestError, match="running") as caught:
            await refused(session)
        assert caught.value.type == "invalid_request_error"
    await log.write(ev.SessionStatusRescheduled(id=new_id("sevt")), claim=None)
    with pytest.raises(anthropic.BadRequestError, match="interrupt"):
        await client.beta.sessions.archive(session)
    assert (await client.beta.sessions.retrieve(session)).status in ("rescheduling", "running")


async def test_archiving_ends_a_session_for_good(client: AsyncAnthropic, bus: NatsBus, session: str) -> None:
    heard: asyncio.Queue[commands.Release] = asyncio.Queue()

    async def hear(message: Message) -> None:
        heard.put_nowait(msgspec.json.decode(message.data, type=commands.Release))

    listening = await bus.core.subscribe(subjects.RELEASE, hear)
    log = Log(bus, session)
    mine, asked = await log.asks(custom=1, ask=1)
    assert (await client.beta.sessions.retrieve(session)).status == "idle"
    found = await client.beta.sessions.archive(session)
    assert found.status == "terminated"
    assert found.archived_at is not None
    again = await client.beta.sessions.archive(session)
    assert again.archived_at == found.archived_at
    closed = [e for e in await events(client, session) if e.type == "agent.tool_result"]
    assert [e.tool_use_id for e in closed] == [mine, asked]
    assert all(e.is_error for e in closed)
    assert [e.type for e in await events(client, session)][-2:] == [
        "session.thread_status_terminated",
        "session.status_terminated",
    ]
    release = await asyncio.wait_for(heard.get(), 5)
    assert (release.session, release.files) == (session, False)
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        await client.beta.sessions.events.send(session, events=[SAY])  # type: ignore[list-item]
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        await client.beta.sessions.update(session, title="t")
    assert session not in [s.id async for s in client.beta.sessions.list()]
    await client.beta.sessions.delete(session)
    await listening.close()


async def test_a_deleted_session_is_gone_and_its_streams_end(
    client: AsyncAnthropic, bus: NatsBus, session: str
) -> None:
    async with await client.beta.sessions.events.stream(session) as stream:
        answer = await client.beta.sessions.delete(session)
        assert (answer.id, answer.type) == (session, "session_deleted")
        assert [e.type async for e in stream] == ["session.deleted"]
    for call in (
        client.beta.sessions.retrieve(session),
        client.beta.sessions.archive(session),
        client.beta.sessions.delete(session),
        client.beta.sessions.events.send(session, events=[SAY]),  # type: ignore[list-item]
        client.beta.sessions.events.stream(session),
        events(client, session),
    ):
        with pytest.raises(anthropic.NotFoundError):
            await call
    assert session not in [s.id async for s in client.beta.sessions.list(include_archived=True)]
    last = await bus.log.head(Key("default", session))
    assert last is not None, "the log keeps a tombstone"


async def test_a_session_that_is_held_for_a_moment_is_archived_when_it_is_let_go(
    client: AsyncAnthropic, bus: NatsBus, session: str
) -> None:
    log = Log(bus, session)
    await log.write(ev.UserInterrupt(id=new_id("sevt")), claim=Claim(id="clm_1", by="test", trigger=1))
    archiving = asyncio.create_task(client.beta.sessions.archive(session))
    await asyncio.sleep(0)
    await log.write(claim=None)
    assert (await archiving).status == "terminated"


# --- the read model, and a service that dies ------------------------------------------------------------------------


async def test_the_read_model_may_be_deleted_or_broken_at_any_time(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with session_service(tmp_path, {"HOLDFAST_SESSION_DATA": str(data)}) as own:
        with own.client() as client:
            agent = client.beta.agents.create(model="m", name="a").id
            environment = client.beta.environments.create(name="e").id
            ids = [client.beta.sessions.create(agent=agent, environment_id=environment).id for _ in range(5)]
            listed = [s.to_dict() for s in client.beta.sessions.list(order="asc")]
            assert [s["id"] for s in listed] == ids
        for harm in ("killed", "deleted", "broken"):
            own.kill()
            for file in data.iterdir() if harm != "killed" else ():
                if harm == "deleted":
                    file.unlink()
                else:
                    file.write_bytes(b"\0\1" * 2000)
            own.start()
            with own.client() as client:
                again = [s.to_dict() for s in client.beta.sessions.list(order="asc")]
            for old, new in zip(listed, again, strict=True):
                assert {**old, "stats": 0} == {**new, "stats": 0}


async def test_a_creation_that_died_half_way_is_never_listed_and_is_undone(tmp_path: Path) -> None:
    with session_service(tmp_path, {"HOLDFAST_FAULT": "session.created:kill:2"}) as own:
        with own.client(max_retries=0) as client:
            agent = client.beta.agents.create(model="m", name="a").id
            environment = client.beta.environments.create(name="e").id
            whole = client.beta.sessions.create(agent=agent, environment_id=environment, initial_events=[SAY])  # type: ignore[list-item]
            with pytest.raises(anthropic.APIConnectionError):
                client.beta.sessions.create(agent=agent, environment_id=environment, initial_events=[SAY])  # type: ignore[list-item]
        own.kill()  # only waits: it has killed itself
        own.start()
        async with own.bus() as bus:
            (half,) = [key async for key in _keys(bus) if key.session != whole.id]
            with own.client() as client:
                assert half.session not in [s.id for s in client.beta.sessions.list(include_archived=True)]
            await _sweep(bus)
            last = await bus.log.head(half)
            assert last is not None
            assert last.commit.head.deleted
            with own.client() as client, pytest.raises(anthropic.NotFoundError):
                client.beta.sessions.retrieve(half.session)
            kept = await bus.log.head(Key("default", whole.id))
            assert kept is not None
            assert not kept.commit.head.deleted, "its input is stored, it only waits for a harness"


async def test_a_claim_that_stands_still_with_nothing_waiting_is_nudged(bus: NatsBus, session: str) -> None:
    log = Log(bus, session)
    await log.running()
    await _sweep(bus, ahead=16 * 60)
    await _sweep(bus, ahead=16 * 60)
    (waiting,) = await bus.inbox.pending(log.key, 0)
    assert waiting.input is not None
    assert waiting.input.id.startswith("ndg_")


async def _keys(bus: NatsBus) -> AsyncIterator[Key]:
    async for batch in bus.log.follow("a0"):
        for key, _ in batch:
            yield key
        if not batch:
            return


async def _sweep(bus: NatsBus, *, ahead: float = 5 * 60) -> int:
    """One round of the sweeper as it will be in `ahead` seconds."""
    ledger = SessionRepository(bus, ReadModel(None), cell=SessionSettings().cell, now=clock.now)
    following = asyncio.create_task(follow(ledger))

    try:
        await asyncio.wait_for(ledger.model.caught_up.wait(), 20)
        return await sweep_once(ledger, now=clock.now() + int(ahead * 1_000_000))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        ledger.model.close()
