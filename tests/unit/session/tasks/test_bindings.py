"""Bindings as pure data: what may be given, what is stored, and that no secret is."""

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
SECRET = "a-secret-of-the-test"
SIGNATURE = {"scheme": "github", "secrets": [SECRET]}


def create(**fields: Any) -> BindingConfig:
    given = {name: value for name, value in {**BODY, **fields}.items() if value is not ...}
    return create_config(msgspec.convert(given, BindingCreate))


def update(now: BindingConfig, **fields: Any) -> BindingConfig:
    return update_config(now, msgspec.convert(fields, BindingUpdate))


def test_what_is_left_out_has_its_default() -> None:
    config = create()
    assert (config.agent_id, config.agent_version, config.session_key, config.when) == ("agent_1", None, None, {})
    assert (config.max_open, config.remember_hours, config.signature) == (100, 72, None)


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
        ({"signature": {"scheme": "github"}}, "signature.secrets: must be given"),
        ({"signature": {"scheme": "github", "secrets": ["short"]}}, r"signature.secrets\[0\]: a secret must"),
        ({"signature": {"scheme": "standard", "secrets": [SECRET + "!"]}}, r"signature.secrets\[0\]: a secret must"),
        ({"signature": {**SIGNATURE, "header": "x-mine"}}, "signature.header: only the scheme `stripe`"),
        ({"signature": {"scheme": "stripe", "secrets": [SECRET], "header": "a b"}}, "signature.header: "),
    ],
)
def test_a_mistake_is_a_400_that_names_the_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError, match=f"^{message}") as refused:
        create(**fields)
    assert refused.value.status == 400
    assert SECRET not in refused.value.message


@pytest.mark.parametrize(
    "fields",
    [
        {"agent": ...}, {"environment_id": ...}, {"message": ...}, {"message": ""}, {"other": 1}, {"max_open": 0},
        {"max_open": 1001}, {"remember_hours": 721}, {"when": {"a": []}}, {"when": {"a": "x"}}, {"when": {"a": [1.5]}},
        {"signature": {"scheme": "md5", "secrets": [SECRET]}}, {"signature": {**SIGNATURE, "secrets": [SECRET] * 5}},
        {"signature": {**SIGNATURE, "tolerance_seconds": 3601}}, {"message": "x" * 100_001}, {"kind": "k" * 129},
    ],
)  # fmt: skip
def test_a_wrong_shape_is_refused_by_the_decoder(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        create(**fields)


def test_no_secret_is_stored() -> None:
    config = create(signature=SIGNATURE)
    assert config.signature is not None
    assert SECRET.encode() not in msgspec.json.encode(config)


def test_an_update_changes_what_it_names() -> None:
    config = create(
        session_key="{{n}}", title="{{t}}", metadata={"a": "1"}, when={"action": ["opened"]}, signature=SIGNATURE
    )
    assert update(config) == config
    changed = update(config, message="New {{x}}", max_open=3, metadata={"b": "2", "a": None})
    assert changed == msgspec.structs.replace(config, message="New {{x}}", max_open=3, metadata={"b": "2"})
    cleared = update(config, session_key=None, title="", when=None, signature=None)
    assert (cleared.session_key, cleared.title, cleared.when, cleared.signature) == (None, None, {}, None)
    with pytest.raises(ApiError, match=r"^message: "):
        update(config, message="{{")


def test_secrets_stay_unless_the_scheme_changes() -> None:
    config = create(signature=SIGNATURE)
    later = update(config, signature={"scheme": "github", "tolerance_seconds": 60}).signature
    assert later is not None
    assert later.tolerance_seconds == 60
    with pytest.raises(ApiError, match=r"^signature.secrets: must be given"):
        update(config, signature={"scheme": "stripe"})


def test_a_stored_binding_is_read_back_and_a_newer_one_is_not() -> None:
    config = create(session_key="{{n}}", when={"a": ["x", 1, True, None]}, signature=SIGNATURE)
    binding = Binding(kind="review", version=2, config=config, created_at=1, updated_at=2_000_000)
    raw = msgspec.json.encode(binding)
    assert decode_record(Binding, raw) == binding
    with pytest.raises(Newer):
        decode_record(Binding, raw.replace(b'"v":1', b'"v":99'))
    shown = msgspec.to_builtins(binding.to_api())
    assert shown["agent"] == {"type": "agent", "id": "agent_1", "version": None}
    assert shown["when"] == {"a": ["x", 1, True, None]}
    assert (shown["updated_at"], shown["archived_at"]) == ("1970-01-01T00:00:02.000000Z", None)
