"""What a task becomes under a binding, before anything is written."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from holdfast.session.tasks.bindings import Binding, BindingCreate, create_config
from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.plan import plan, wants, working
from holdfast.session.tasks.rejection import Rejected

EVENT = TaskEvent(data={"n": 5, "text": "a\nb", "action": "opened"})


def binding(**fields: Any) -> Binding:
    body = {"kind": "k", "agent": "agent_1", "environment_id": "env_1", "message": "Do {{n}}", **fields}
    config = create_config(msgspec.convert(body, BindingCreate))
    return Binding(kind="k", version=1, config=config, created_at=1, updated_at=1)


def test_a_task_is_wanted_by_its_binding_unless_a_condition_says_no() -> None:
    assert wants(binding(), EVENT)
    assert wants(binding(when={"action": ["opened"]}), EVENT)
    assert not wants(binding(when={"action": ["closed"]}), EVENT)


@pytest.mark.parametrize(("found", "text"), [(None, "is missing"), (replace(binding(), archived_at=2), "is archived")])
def test_a_kind_without_a_binding_is_the_reason(found: Binding | None, text: str) -> None:
    why = working(found)
    assert isinstance(why, Rejected)
    assert why.reason == "unbound"
    assert text in why.message
    assert working(binding()) == binding()


def test_message_title_and_key_are_rendered() -> None:
    made = plan(binding(title="On {{text}}", session_key="{{n}}"), EVENT)
    assert (made.message, made.title) == ("Do 5", "On a b")
    assert made.key == plan(binding(session_key="{{n}}"), EVENT).key
    assert made.key != plan(binding(session_key="{{text}}"), EVENT).key
    assert plan(binding(), EVENT).key == ""
    assert plan(binding(), EVENT).title is None


@pytest.mark.parametrize("fields", [{"message": "{{none}}"}, {"title": "{{none}}"}, {"session_key": "{{none}}"}])
def test_a_field_that_the_task_lacks_is_the_reason(fields: dict[str, str]) -> None:
    with pytest.raises(Rejected, match=r"\{\{none\}\}") as rejected:
        plan(binding(**fields), EVENT)
    assert rejected.value.reason == "unrenderable"
