"""Creating and retrieving sessions through the official SDK (G.2 points 2 and 23 to 26).

On the real session service and a real log; no harness runs.
"""

import time
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from holdfast.bus import events as ev
from holdfast.bus.commits import commit
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.inputs import ClientInput
from holdfast.bus.jetstream.client import NatsBus
from tests.support.session_requests import SAY, TOOL, list_events


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
        model={"id": "m-1", "effort": "low"},
        name="a",
        system="one",
        tools=[TOOL],  # type: ignore[arg-type]
        description="d",
    )

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
    (waiting,) = await bus.inbox.pending(Key("default", made.id))
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


@pytest.mark.parametrize("unknown", ["sesn_a0_unknown", "sesn_zz_x", "nothing", "agent_1", "a.b", "sesn_a0_>", "é"])
async def test_an_unknown_session_is_not_found_anywhere(client: AsyncAnthropic, unknown: str) -> None:
    sessions = client.beta.sessions
    for call in (
        sessions.retrieve(unknown),
        sessions.update(unknown, title="t"),
        sessions.archive(unknown),
        sessions.delete(unknown),
        sessions.events.send(unknown, events=[SAY]),  # type: ignore[list-item]
        list_events(client, unknown),
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
