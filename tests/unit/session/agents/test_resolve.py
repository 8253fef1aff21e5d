"""Agents as pure data: resolving twice is resolving once, and overrides for one session."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.bus.tools import TOOLSET
from holdfast.session.agents import resolve, schema
from holdfast.session.agents.tools import BUILT_IN, UNAVAILABLE, Tool, resolve_tools
from holdfast.session.http.errors import ApiError
from holdfast.session.storage.metadata import patched

POLICIES = st.none() | st.sampled_from([{"type": "always_allow"}, {"type": "always_ask"}])
ENABLED = st.none() | st.booleans()
CONFIG = st.fixed_dictionaries({"enabled": ENABLED, "permission_policy": POLICIES})


@st.composite
def toolsets(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(BUILT_IN - set(UNAVAILABLE))), unique=True))
    configs = [{"name": name, **draw(CONFIG)} for name in names]
    return {"type": TOOLSET, "default_config": draw(st.none() | CONFIG), "configs": configs}


def agent(**fields: Any) -> schema.AgentConfig:
    return resolve.create_config(msgspec.convert({"model": "m", "name": "n", **fields}, schema.AgentCreate))


def override(base: schema.AgentConfig, **fields: Any) -> schema.AgentConfig:
    whole = {"type": "agent_with_overrides", "id": "agent_1", **fields}
    return resolve.override(base, msgspec.convert(whole, schema.AgentWithOverrides))


@given(toolset=toolsets())
def test_resolving_twice_is_resolving_once(toolset: dict[str, Any]) -> None:
    once = resolve_tools(msgspec.convert([toolset], list[Tool]))
    assert resolve_tools(msgspec.convert(once, list[Tool])) == once
    (found,) = once
    given_default = toolset["default_config"] or {}
    default = given_default.get("enabled") is not False
    assert found["default_config"]["enabled"] == default
    shown = {config["name"]: config for config in found["configs"]}
    for config in toolset["configs"]:
        assert shown[config["name"]]["enabled"] == (default if config["enabled"] is None else config["enabled"])
    assert not any(shown[name]["enabled"] for name in UNAVAILABLE if name in shown)
    assert all(name in shown for name in UNAVAILABLE) == default


def test_overrides_replace_whole_or_clear_or_inherit() -> None:
    tool = {"type": "custom", "name": "t", "description": "d", "input_schema": {"type": "object"}}
    base = agent(system="s", tools=[tool], model={"id": "m", "effort": "low", "inference_geo": "eu"})
    assert override(base) == base
    assert override(base, system="other").system == "other"
    for nothing in (None, ""):
        assert override(base, system=nothing).system is None
    for none in (None, []):
        assert override(base, tools=none).tools == []
        assert override(base, mcp_servers=none, skills=none) == base
    assert override(base, tools=[{"type": TOOLSET}]).tools[0]["type"] == TOOLSET


def test_the_effort_of_an_overriding_model_is_not_applied() -> None:
    base = agent(model={"id": "m", "effort": "low"})
    for model in ("m", {"id": "m", "effort": "max"}):
        assert override(base, model=model).model["effort"] == {"type": resolve.DEFAULT_EFFORT}


def test_a_session_needs_a_model() -> None:
    with pytest.raises(ApiError) as wrong:
        override(agent(), model=None)
    assert wrong.value.status == 400
    assert wrong.value.details == {"error_code": "agent_model_required"}


@pytest.mark.parametrize("field", ["mcp_servers", "skills"])
def test_overrides_with_what_is_not_there_yet_are_refused(field: str) -> None:
    with pytest.raises(ApiError, match="not available in this version"):
        override(agent(), **{field: [{}]})


KEYS = st.sampled_from(["a", "b", "c", "d"])


@given(now=st.dictionaries(KEYS, st.text()), patch=st.dictionaries(KEYS, st.none() | st.text()))
def test_a_metadata_patch(now: dict[str, str], patch: dict[str, str | None]) -> None:
    after = patched(now, patch)
    assert patched(after, patch) == after
    for key in "abcd":
        assert after.get(key) == (patch[key] if key in patch else now.get(key))
    assert all(patched(now, {key: ""}, empty_deletes=True).get(key) is None for key in now)
