"""What the system prompt tells: the agent's own text, and which network its sandbox has."""

from typing import Any

import pytest

from holdfast.bus import events as ev
from holdfast.harness.conversation.prompt import BY_PROXY, NAMED_HOSTS_LIMIT, NO_NETWORK, system

TOOLSET = {"type": "agent_toolset_20260401", "default_config": {"enabled": True}, "configs": []}
CUSTOM = {"type": "custom", "name": "ask", "description": "d", "input_schema": {"type": "object"}}
OFF = {"type": "agent_toolset_20260401", "default_config": {"enabled": False}, "configs": []}


def config(networking: Any = None, **agent: Any) -> ev.SessionConfig:
    return ev.SessionConfig(
        id="cfg",
        tenant="t",
        agent={"name": "n", "model": {"id": "m"}, **agent},
        environment_id="env_1",
        environment={"type": "cloud", "networking": networking} if networking else {"type": "cloud"},
        primary_thread="sthr_1",
    )


@pytest.mark.parametrize(
    "networking",
    [None, {"type": "unrestricted"}, {"type": "limited"}, {"type": "limited", "allowed_hosts": []}],
)
def test_an_agent_with_a_sandbox_is_told_that_it_has_no_network(networking: Any) -> None:
    assert system(config(networking, tools=[TOOLSET])) == [NO_NETWORK]
    assert system(config(networking, tools=[TOOLSET], system="Be kind.")) == ["Be kind.", NO_NETWORK]


@pytest.mark.parametrize("tools", [[], [CUSTOM], [OFF]])
def test_an_agent_without_a_sandbox_is_told_nothing_of_one(tools: Any) -> None:
    assert system(config(tools=tools)) == []
    assert system(config(tools=tools, system="Be kind.")) == ["Be kind."]


def test_hosts_that_the_environment_allows_are_named() -> None:
    limited = {"type": "limited", "allowed_hosts": ["api.example.com", "*.example.org"]}
    (told,) = system(config(limited, tools=[TOOLSET]))
    assert told.startswith(NO_NETWORK)
    assert told.endswith("as well: api.example.com, *.example.org.")
    many = {"type": "limited", "allowed_hosts": [f"h{n}.example" for n in range(1000)]}
    (told,) = system(config(many, tools=[TOOLSET]))
    assert f"h{NAMED_HOSTS_LIMIT - 1}.example and {1000 - NAMED_HOSTS_LIMIT} more." in told
    assert f"h{NAMED_HOSTS_LIMIT}.example" not in told


@pytest.mark.parametrize(
    ("networking", "reached"),
    [
        ({"type": "unrestricted"}, "public hosts of the internet"),
        ({"type": "limited", "allowed_hosts": ["a.example", "*.b.example"]}, "a.example, *.b.example"),
        (
            {"type": "limited", "allowed_hosts": ["a.example"], "allow_package_managers": True},
            "a.example and the package indexes of apt, cargo, gem, go, npm and pip",
        ),
    ],
)
def test_an_agent_is_told_what_its_sandbox_reaches(networking: Any, reached: str) -> None:
    (told,) = system(config(networking, tools=[TOOLSET]), egress=True)
    assert told == f"Your sandbox, in which bash and the file tools run, reaches {reached} {BY_PROXY}"


@pytest.mark.parametrize("networking", [None, {"type": "limited", "allowed_hosts": [], "allow_mcp_servers": True}])
def test_a_network_without_hosts_is_none(networking: Any) -> None:
    assert system(config(networking, tools=[TOOLSET]), egress=True) == [NO_NETWORK]
