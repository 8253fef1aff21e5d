from pathlib import Path

import pytest

from holdfast.cli.client import definitions
from holdfast.cli.client.target import NoStack, find
from holdfast.cli.models import DEFAULT_MODEL


def test_an_agent_file_is_yaml_or_json(tmp_path: Path) -> None:
    yaml, json = tmp_path / "reviewer.yaml", tmp_path / "a.json"
    yaml.write_text("system: You review.\ntools:\n  - type: agent_toolset_20260401\n")
    json.write_text('{"name": "j", "model": "m"}')
    assert definitions.read_agent(yaml, None) == {
        "name": "reviewer",
        "model": DEFAULT_MODEL,
        "system": "You review.",
        "tools": [{"type": "agent_toolset_20260401"}],
    }
    assert definitions.read_agent(json, "other")["model"] == "other"


@pytest.mark.parametrize(("content", "why"), [("- a\n- b\n", "object"), ("a: [", "neither"), (None, "cannot read")])
def test_a_bad_agent_file_is_named(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "agent.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(definitions.BadAgentFile, match=why):
        definitions.read_agent(path, None)


def test_a_stack_is_found_by_its_folder_or_its_address(tmp_path: Path) -> None:
    with pytest.raises(NoStack, match="holdfast up"):
        find(tmp_path, {})
    with pytest.raises(NoStack, match="HOLDFAST_API_KEY"):
        find(None, {"HOLDFAST_BASE_URL": "http://x"})
    found = find(None, {"HOLDFAST_BASE_URL": "http://x", "HOLDFAST_API_KEY": "k"})
    assert (found.base_url, found.api_key, found.local) == ("http://x", "k", None)
    with pytest.raises(NoStack, match=str(tmp_path)):
        find(None, {"HOLDFAST_DATA": str(tmp_path)})
