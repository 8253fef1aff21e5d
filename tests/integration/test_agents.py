"""Agents through the SDK: points 8 to 17 of the conformance list, and what two writers or a crash may not break."""

import asyncio
from collections.abc import Generator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic

from tests.support.edge import SessionService, session_service

TOOLSET = {"type": "agent_toolset_20260401"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def custom(name: str, **changes: Any) -> dict[str, Any]:
    return {"type": "custom", "name": name, "description": "d", "input_schema": SCHEMA, **changes}


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    with session_service(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture
def client(edge: SessionService) -> Anthropic:
    return edge.client(max_retries=0)


@pytest.fixture
def agents(client: Anthropic) -> Any:
    """Untyped, because much of what is sent here breaks the SDK's own types."""
    return client.beta.agents


def refused(call: Any, *args: Any, **params: Any) -> str:
    """The message of the 400 that the call must end in."""
    with pytest.raises(anthropic.BadRequestError) as wrong:
        call(*args, **params)
    assert wrong.value.type == "invalid_request_error"
    return wrong.value.body["error"]["message"]  # type: ignore[index]


# --- create --------------------------------------------------------------------------------------------------------


def test_model_and_name_are_enough(agents: Any) -> None:
    agent = agents.create(model="claude-opus-5-5", name="n")
    assert agent.id.startswith("agent_")
    assert (agent.type, agent.version, agent.name) == ("agent", 1, "n")
    assert agent.model.to_dict() == {
        "id": "claude-opus-5-5",
        "effort": {"type": "high"},
        "speed": "standard",
        "inference_geo": None,
    }
    assert (agent.description, agent.system, agent.multiagent, agent.archived_at) == (None, None, None, None)
    assert (agent.tools, agent.mcp_servers, agent.skills, agent.metadata) == ([], [], [], {})
    assert agent.execution_identity.type == "service_account"
    assert agent.created_at == agent.updated_at
    assert agents.retrieve(agent.id) == agent


def test_a_model_object_may_spell_its_effort_in_two_ways(agents: Any) -> None:
    plain = agents.create(name="n", model={"id": "m", "effort": "low"})
    spelled = agents.create(name="n", model={"id": "m", "effort": {"type": "low"}, "inference_geo": "eu"})
    assert plain.model.effort == spelled.model.effort
    assert (plain.model.effort.type, spelled.model.inference_geo) == ("low", "eu")
    for model in ("", {"id": ""}, {}, {"id": "m", "effort": "huge"}, {"id": "m", "speed": "warp"}, 7, None, ["m"]):
        refused(agents.create, name="n", model=model)
    assert "not available in this version" in refused(agents.create, name="n", model={"id": "m", "speed": "fast"})


def test_the_limits_of_the_fields(agents: Any) -> None:
    most = {"name": "n" * 256, "description": "d" * 2048, "system": "s" * 100_000}
    pairs = {f"{i:064}": "v" * 512 for i in range(16)}
    agent = agents.create(model="m", metadata=pairs, **most)
    assert agents.retrieve(agent.id).metadata == pairs
    for field, value in most.items():
        assert field in refused(agents.create, **{"model": "m", "name": "n", field: value + "x"})
    for metadata in ({**pairs, "one": "more"}, {"k" * 65: "v"}, {"k": "v" * 513}, {"": "v"}, {"k": 1}, {"k": None}, []):
        assert "metadata" in refused(agents.create, model="m", name="n", metadata=metadata)
    for name in ("", None, 7):
        assert "name" in refused(agents.create, model="m", name=name)
    assert "blank" in refused(agents.create, model="m", name="n", system=" \n ")


def test_what_this_version_does_not_offer_is_refused_not_dropped(agents: Any) -> None:
    later = {
        "mcp_servers": [{"type": "url", "name": "s", "url": "https://example.com"}],
        "skills": [{"type": "anthropic", "skill_id": "xlsx"}],
        "multiagent": {"type": "coordinator", "agents": []},
        "execution_identity": {"type": "aws_role", "role_arn": "arn:aws:iam::1:role/x"},
    }
    agent = agents.create(model="m", name="n")
    for field, value in later.items():
        assert "not available in this version" in refused(agents.create, model="m", name="n", **{field: value})
        assert "not available in this version" in refused(agents.update, agent.id, **{field: value})
    nothing = {"mcp_servers": [], "skills": [], "multiagent": None, "execution_identity": {"type": "service_account"}}
    assert agents.create(model="m", name="n", **nothing).version == 1
    assert agents.update(agent.id, **nothing).version == 1
    assert "colour" in refused(agents.create, model="m", name="n", extra_body={"colour": "red"})


# --- tools ---------------------------------------------------------------------------------------------------------


def test_a_toolset_comes_back_fully_resolved(agents: Any) -> None:
    allow, ask = {"type": "always_allow"}, {"type": "always_ask"}
    configs = [{"name": "bash", "permission_policy": ask}, {"name": "write", "enabled": False, "type": "write"}]
    tools = agents.create(model="m", name="n", tools=[{**TOOLSET, "configs": configs}]).tools
    found = tools[0].to_dict()
    assert found["default_config"] == {"enabled": True, "permission_policy": allow}
    assert found["configs"][:2] == [
        {"name": "bash", "type": "bash", "enabled": True, "permission_policy": ask},
        {"name": "write", "type": "write", "enabled": False, "permission_policy": allow},
    ]
    # The web tools are not there yet: a default covers them, but they are shown as what they are.
    assert {config["name"]: config["enabled"] for config in found["configs"][2:]} == {
        "web_fetch": False,
        "web_search": False,
    }
    off = {**TOOLSET, "default_config": {"enabled": False, "permission_policy": ask}, "configs": [{"name": "read"}]}
    found = agents.create(model="m", name="n", tools=[off]).tools[0].to_dict()
    assert found["configs"] == [{"name": "read", "type": "read", "enabled": False, "permission_policy": ask}]


def test_what_came_back_can_be_sent_again(agents: Any) -> None:
    agent = agents.create(model="m", name="n", tools=[TOOLSET, custom("mine")], system="s", description="d")
    same = agent.to_dict()
    fields = ("model", "name", "description", "system", "tools", "mcp_servers", "skills", "metadata")
    again = agents.update(agent.id, **{field: same[field] for field in fields})
    assert again == agent


@pytest.mark.parametrize(
    "tools",
    [
        [TOOLSET, TOOLSET],
        [{**TOOLSET, "configs": [{"name": "vim"}]}],
        [{**TOOLSET, "configs": [{"name": "bash"}, {"name": "bash"}]}],
        [{**TOOLSET, "configs": [{"name": "bash", "type": "read"}]}],
        [{**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "sometimes"}}]}],
        [{**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "auto"}}]}],
        [{**TOOLSET, "default_config": {"permission_policy": {"type": "auto"}}}],
        [{**TOOLSET, "configs": [{"name": "web_search", "enabled": True}]}],
        [{**TOOLSET, "configs": [{"name": "web_fetch", "enabled": False, "allowed_domains": ["a.example"]}]}],
        [{"type": "mcp_toolset", "mcp_server_name": "s"}],
        [{"type": "bash_20250124"}],
        [{"name": "no type"}],
        ["text"],
    ],
)
def test_a_wrong_toolset_is_refused(agents: Any, tools: list[Any]) -> None:
    assert "tools" in refused(agents.create, model="m", name="n", tools=tools)


@pytest.mark.parametrize(
    "tool",
    [
        custom("bash"),
        custom("web_search"),
        custom("mcp__server__tool"),
        custom("has space"),
        custom("ü"),
        custom("x" * 129),
        custom(""),
        custom("newline\n"),
        custom("t", description=None),
        custom("t", permission_policy={"type": "always_ask"}),
        custom("t", input_schema={}),
        custom("t", input_schema={"type": "string"}),
        custom("t", input_schema={"type": "object", "$ref": "#/x"}),
        custom("t", input_schema={"type": "object", "properties": {"a": {"items": {"$ref": "#/x"}}}}),
        custom("t", input_schema={"type": "object", "anyOf": []}),
        custom("t", input_schema={"type": "object", "oneOf": []}),
        custom("t", input_schema={"type": "object", "allOf": []}),
        custom("t", input_schema={"type": "object", "properties": []}),
        custom("t", input_schema={"type": "object", "properties": {"a b": {}}}),
        custom("t", input_schema={"type": "object", "properties": {"a": "string"}}),
        custom("t", input_schema={"type": "object", "required": "a"}),
        custom("t", input_schema={"type": "object", "required": ["a", "a"]}),
    ],
    ids=lambda tool: str({**tool, "type": ""})[:80],
)
def test_a_wrong_custom_tool_is_refused(agents: Any, tool: dict[str, Any]) -> None:
    assert "tools[0]" in refused(agents.create, model="m", name="n", tools=[tool])


def test_names_that_only_look_wrong_are_taken(agents: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"anyOf": {"enum": ["$ref"]}, "b": {"anyOf": [{"type": "null"}], "default": {"$ref": 1}}},
        "required": None,
    }
    (tool,) = agents.create(model="m", name="n", tools=[custom("mcp_x-1", input_schema=schema)]).tools
    assert tool.to_dict()["input_schema"] == {key: schema[key] for key in ("type", "properties")}


def test_at_most_256_tools_over_all(agents: Any) -> None:
    many = [custom(f"t{i}") for i in range(257)]
    assert "256" in refused(agents.create, model="m", name="n", tools=many)
    assert "256" in refused(agents.create, model="m", name="n", tools=[*many[:251], TOOLSET])
    assert len(agents.create(model="m", name="n", tools=[*many[:250], TOOLSET]).tools) == 251
    assert "twice" in refused(agents.create, model="m", name="n", tools=[custom("a"), custom("a")])


# --- update and versions -------------------------------------------------------------------------------------------


def test_an_update_makes_a_version_and_the_old_one_stays(agents: Any) -> None:
    first = agents.create(model="m", name="one")
    second = agents.update(first.id, name="two", version=1)
    assert (second.version, second.name, second.created_at) == (2, "two", first.created_at)
    assert second.updated_at > first.updated_at
    assert agents.retrieve(first.id) == second
    assert agents.retrieve(first.id, version=1) == first
    assert agents.retrieve(first.id, version=2) == second
    assert list(agents.versions.list(first.id)) == [second, first]
    with pytest.raises(anthropic.NotFoundError):
        agents.retrieve(first.id, version=3)
    refused(agents.retrieve, first.id, version=0)


def test_versions_come_in_pages(agents: Any) -> None:
    agent = agents.create(model="m", name="0")
    for i in range(1, 8):
        agents.update(agent.id, name=str(i))
    page = agents.versions.list(agent.id, limit=3)
    assert [one.version for one in page.data] == [8, 7, 6]
    assert [one.version for one in page] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert agents.versions.list(agent.id, limit=8).next_page is None
    other = agents.create(model="m", name="other")
    refused(agents.versions.list, other.id, page=page.next_page)


def test_an_update_that_changes_nothing_keeps_the_version(agents: Any) -> None:
    agent = agents.create(model="m", name="n", metadata={"a": "1"}, tools=[TOOLSET], system="s")
    for same in ({}, {"name": "n"}, {"metadata": {"a": "1"}}, {"metadata": {"b": None}}, {"tools": [TOOLSET]}):
        assert agents.update(agent.id, **same) == agent
    assert agents.update(agent.id, model="m", version=1) == agent


def test_a_stale_version_is_a_conflict_even_when_nothing_would_change(agents: Any) -> None:
    agent = agents.create(model="m", name="one")
    agents.update(agent.id, name="two")
    for fields in ({"name": "three"}, {"name": "two"}):
        with pytest.raises(anthropic.ConflictError) as stale:
            agents.update(agent.id, version=1, **fields)
        assert stale.value.response.headers["x-should-retry"] == "false"
        assert stale.value.type == "invalid_request_error"
    refused(agents.update, agent.id, version=0)
    assert agents.retrieve(agent.id).version == 2


def test_null_and_empty_clear_and_what_is_left_out_stays(agents: Any) -> None:
    full = {"description": "d", "system": "s", "tools": [TOOLSET]}
    for cleared in (None, ""):
        agent = agents.create(model="m", name="n", **full)
        agent = agents.update(agent.id, description=cleared)
        assert (agent.description, agent.system, len(agent.tools)) == (None, "s", 1)
        agent = agents.update(agent.id, system=cleared, tools=None if cleared is None else [])
        assert (agent.description, agent.system, agent.tools) == (None, None, [])
    for field in ("name", "model"):
        for nothing in (None, ""):
            refused(agents.update, agent.id, **{field: nothing})


def test_metadata_is_merged_by_key(agents: Any) -> None:
    agent = agents.create(model="m", name="n", metadata={"keep": "1", "drop": "2", "change": "3"})
    agent = agents.update(agent.id, metadata={"drop": None, "change": "4", "new": ""})
    assert agent.metadata == {"keep": "1", "change": "4", "new": ""}
    assert agents.update(agent.id, metadata=None) == agent
    assert "metadata" in refused(agents.update, agent.id, metadata={f"k{i}": "v" for i in range(14)})


def test_effort_stays_with_its_model(agents: Any) -> None:
    agent = agents.create(name="n", model={"id": "m", "effort": "low", "inference_geo": "eu"})
    agent = agents.update(agent.id, model={"id": "m"})
    assert (agent.model.effort.type, agent.model.inference_geo) == ("low", None)
    agent = agents.update(agent.id, model={"id": "other"})
    assert agent.model.effort.type == "high"


def test_an_archived_agent_can_only_be_read(agents: Any) -> None:
    agent = agents.create(model="m", name="one")
    agents.update(agent.id, name="two")
    archived = agents.archive(agent.id)
    assert archived.archived_at is not None
    assert archived.version == 2
    assert agents.archive(agent.id) == archived
    assert "archived" in refused(agents.update, agent.id, name="three")
    assert agents.retrieve(agent.id) == archived
    assert agents.retrieve(agent.id, version=1).archived_at == archived.archived_at
    assert [one.version for one in agents.versions.list(agent.id)] == [2, 1]
    assert agent.id not in [one.id for one in agents.list(limit=100)]
    assert agent.id in [one.id for one in agents.list(limit=100, include_archived=True)]


def test_an_unknown_agent_is_not_found_everywhere(agents: Any) -> None:
    for call in (agents.retrieve, agents.update, agents.archive, agents.versions.list):
        with pytest.raises(anthropic.NotFoundError):
            call("agent_none")


# --- two at once, and crashes --------------------------------------------------------------------------------------


async def test_of_updates_at_once_with_a_version_one_wins(edge: SessionService) -> None:
    async with edge.async_client(max_retries=0) as client:
        agents = client.beta.agents
        agent = await agents.create(model="m", name="0")
        tries = [agents.update(agent.id, name=str(i), version=1) for i in range(1, 9)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        won = [one for one in results if not isinstance(one, BaseException)]
        assert len(won) == 1
        assert all(isinstance(one, anthropic.ConflictError) for one in results if one not in won)
        assert [one.name async for one in agents.versions.list(agent.id)] == [won[0].name, "0"]


async def test_updates_at_once_without_a_version_all_happen(edge: SessionService) -> None:
    async with edge.async_client(max_retries=0) as client:
        agents = client.beta.agents
        agent = await agents.create(model="m", name="0")
        updates = [agents.update(agent.id, metadata={f"k{i}": "v"}) for i in range(6)]
        versions = sorted(one.version for one in await asyncio.gather(*updates))
        assert versions == [2, 3, 4, 5, 6, 7]
        last = await agents.retrieve(agent.id)
        assert len(last.metadata) == 6
        assert [len(one.metadata) async for one in agents.versions.list(agent.id)] == [6, 5, 4, 3, 2, 1, 0]


async def test_a_crash_between_the_copy_and_the_new_version_changes_nothing(edge: SessionService) -> None:
    async with edge.async_client(max_retries=0) as client, edge.bus() as bus:
        agents = client.beta.agents
        agent = await agents.create(model="m", name="one")
        head = await bus.kv.get("agents", f"default.{agent.id}")
        assert head
        assert head.value
        # What an update leaves that died after its first write.
        await bus.kv.put("agents", f"default.{agent.id}.1", head.value)
        assert [one async for one in agents.versions.list(agent.id)] == [agent]
        assert await agents.retrieve(agent.id, version=1) == agent
        second = await agents.update(agent.id, name="two")
        assert [one async for one in agents.versions.list(agent.id)] == [second, agent]
