"""Bindings as pure data: what may be given, and what is stored."""

from typing import Any

import msgspec
import pytest

from holdfast.bus.errors import Newer
from holdfast.bus.records import decode_record
from holdfast.session.http.errors import ApiError
from holdfast.session.tasks.bindings import (
    Binding,
    BindingConfig,
    BindingCreate,
    BindingUpdate,
    create_config,
    update_config,
)

BODY: dict[str, Any] = {"kind": "review", "agent": "agent_1", "environment_id": "env_1", "message": "See {{url}}"}


def create(**fields: Any) -> BindingConfig:
    given = {name: value for name, value in {**BODY, **fields}.items() if value is not ...}
    return create_config(msgspec.convert(given, BindingCreate))


def update(now: BindingConfig, **fields: Any) -> BindingConfig:
    return update_config(now, msgspec.convert(fields, BindingUpdate))


def test_what_is_left_out_has_its_default() -> None:
    config = create()
    assert (config.agent_id, config.agent_version, config.session_key, config.when) == ("agent_1", None, None, {})
    assert config.remember_hours == 72


def test_an_agent_may_be_bound_at_a_version() -> None:
    config = create(agent={"type": "agent", "id": "agent_2", "version": 3})
    assert (config.agent_id, config.agent_version) == ("agent_2", 3)
    assert update(config, agent="agent_2").agent_version is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "a.b"}, "kind: must be of letters"),
        ({"kind": "a\n"}, "kind: must be of letters"),
        ({"kind": "*"}, "kind: must be of letters"),
        ({"kind": "batch"}, "kind: .* not be `batch`"),
        ({"message": "{{a b}}"}, "message: .* is no path"),
        ({"session_key": "{{a"}, "session_key: the braces"),
        ({"session_key": "always the same"}, "session_key: has no path"),
        ({"title": "{{a|b}}"}, "title: .* is no path"),
        ({"when": {"a b": ["x"]}}, "when: .* is no path"),
        ({"metadata": {f"k{n}": "v" for n in range(15)}}, "metadata: at most 14 pairs"),
        ({"metadata": {"task_id": "mine"}}, "metadata: at most 14 pairs"),
        ({"vault_ids": ["vlt_1"]}, "vault_ids: vaults in sessions are not available"),
        ({"resources": [{}]}, "resources: session resources are not available"),
        ({"signature": {"scheme": "github"}}, "signature.secrets: give the secret"),
        ({"signature": {"scheme": "github", "secrets": ["short"]}}, r"signature.secrets\[0\]: a secret must have"),
        ({"signature": {"scheme": "standard", "secrets": ["whsec_!"]}}, r"signature.secrets\[0\]: .*base64"),
        ({"signature": {"scheme": "github", "secrets": ["x" * 8], "header": "X-A"}}, "signature.header: the header of"),
        ({"kind": "_invalid"}, "kind: .* or `_invalid`"),
    ],
)
def test_a_mistake_is_a_400_that_names_the_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError, match=f"^{message}") as refused:
        create(**fields)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"agent": ...}, {"environment_id": ...}, {"message": ...}, {"message": ""}, {"other": 1}, {"kind": "k" * 129},
        {"remember_hours": 721}, {"when": {"a": []}}, {"when": {"a": "x"}}, {"when": {"a": [1.5]}},
        {"message": "x" * 100_001}, {"max_open": 0}, {"max_open": 1_001}, {"max_open": None},
    ],
)  # fmt: skip
def test_a_wrong_shape_is_refused_by_the_decoder(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        create(**fields)


def test_an_update_changes_what_it_names() -> None:
    config = create(session_key="{{n}}", title="{{t}}", metadata={"a": "1"}, when={"action": ["opened"]})
    assert update(config) == config
    changed = update(config, message="New {{x}}", remember_hours=3, metadata={"b": "2", "a": None})
    assert changed == msgspec.structs.replace(config, message="New {{x}}", remember_hours=3, metadata={"b": "2"})
    assert update(config, max_open=3) == msgspec.structs.replace(config, max_open=3)
    cleared = update(config, session_key=None, title="", when=None)
    assert (cleared.session_key, cleared.title, cleared.when) == (None, None, {})
    with pytest.raises(ApiError, match=r"^message: "):
        update(config, message="{{")


def test_a_stored_binding_is_read_back_and_a_newer_one_is_not() -> None:
    config = create(session_key="{{n}}", when={"a": ["x", 1, True, None]})
    binding = Binding(kind="review", version=2, config=config, created_at=1, updated_at=2_000_000)
    raw = msgspec.json.encode(binding)
    assert decode_record(Binding, raw) == binding
    assert decode_record(Binding, raw.replace(b',"max_open":100', b"")) == binding, "of a version without limits"
    with pytest.raises(Newer):
        decode_record(Binding, raw.replace(b'"v":1', b'"v":99'))
    shown = msgspec.to_builtins(binding.to_api())
    assert shown["agent"] == {"type": "agent", "id": "agent_1", "version": None}
    assert shown["when"] == {"a": ["x", 1, True, None]}
    assert (shown["updated_at"], shown["archived_at"]) == ("1970-01-01T00:00:02.000000Z", None)
