from pathlib import Path

import pytest

from holdfast.cli.client import definitions
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


@pytest.mark.parametrize(
    "content",
    [
        "tools: [{type: agent_toolset_20260401, default_config: {permission_policy: {type: always_ask}}}]",
        "tools: [{type: agent_toolset_20260401, configs: [{name: bash, enabled: false}]}]",
        "tools: [{type: custom, name: w, description: d, input_schema: {type: object, properties: {c: {}}}}]",
        "model: {id: claude-opus-5-5, speed: fast}",
        "metadata: {a: b}\nsystem: null\n",
    ],
)
def test_parameters_that_the_sdk_takes_are_accepted(tmp_path: Path, content: str) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(content)
    assert definitions.read_agent(path, None)["name"] == "agent"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("- a\n- b\n", "holds a list"),
        ("just words", "holds a single value"),
        ("a: [", "no valid YAML"),
        ("name: !python/object:x y", "no valid YAML"),
        ("", "is empty"),
        (None, "cannot read .*: No such file"),
        ("toolz: []", "toolz: there is no such field; did you mean 'tools'"),
        ("frobnicate: 1", "frobnicate: there is no such field; there are description, "),
        ("betas: [x]", "betas: there is no such field"),
        ("3: x", "3: there is no such field"),
        ("model: 3", "model: must be a text, not 3"),
        ("model: {idd: x}", r"model.idd: .* did you mean 'id'"),
        ("system: [a]", "system: must be a text, not a list"),
        ("tools: {type: x}", "tools: must be a list, not an object"),
        ("tools: [bash]", r"tools\[0\]: must hold fields .*, not 'bash'"),
        ("tools: [{name: x}]", r"tools\[0\]: the field 'type' is missing: agent_toolset_20260401, "),
        ("tools: [{type: agent_toolset}]", r"tools\[0\].type: .* did you mean 'agent_toolset_20260401'"),
        ("tools: [{type: agent_toolset_20260401, default_conifg: {}}]", "did you mean 'default_config'"),
        ("tools: [{type: agent_toolset_20260401, configs: [{name: bashh}]}]", r"configs\[0\].name: .*'bash'"),
        ("tools: [{type: custom, name: x, description: d}]", "the field 'input_schema' is missing"),
        ("metadata: {a: 1}", "metadata.a: must be a text, not 1"),
    ],
)
def test_the_error_names_a_bad_agent_file_and_its_fault(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "agent.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(definitions.BadAgentFile, match=why) as refused:
        definitions.read_agent(path, None)
    assert "agent.yaml" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_and_bytes_are_no_agent_file(tmp_path: Path) -> None:
    with pytest.raises(definitions.BadAgentFile, match="Is a directory"):
        definitions.read_agent(tmp_path, None)
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(definitions.BadAgentFile, match="no valid YAML"):
        definitions.read_agent(tmp_path / "a.yaml", None)
