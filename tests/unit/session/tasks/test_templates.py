"""Templates: paths into a task, nothing else; what is missing is named, and nothing grows without bound."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.rejection import Rejected
from holdfast.session.tasks.templates import (
    MAX_MESSAGE_CHARS,
    MAX_PATHS,
    MAX_SESSION_KEY_CHARS,
    MISSING,
    compile_path,
    compile_template,
    find,
    render_message,
    render_session_key,
    render_title,
)

DATA: dict[str, Any] = {
    "pull_request": {"number": 7, "title": "Fix it", "body": None, "draft": False, "labels": [{"name": "bug"}]},
    "0": "zero",
    "a-b": "dash",
    "empty": "",
    "blank": "  ",
    "share": 0.5,
}
EVENT = TaskEvent(data=DATA, attributes={"type": "pr.opened", "x-kind": "k"})

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(), lambda inner: st.lists(inner, max_size=3)
)


def message(template: str, event: TaskEvent = EVENT) -> str:
    return render_message(compile_template(template), event)


def key(template: str, event: TaskEvent = EVENT) -> str:
    return render_session_key(compile_template(template), event)


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("plain", "plain"),
        ("PR {{pull_request.number}}: {{ pull_request.title }}!", "PR 7: Fix it!"),
        ("{{pull_request.labels.0.name}}", "bug"),
        ("{{0}} {{a-b}} {{share}}", "zero dash 0.5"),
        ("{{pull_request.draft}}", "false"),
        ("[{{pull_request.body}}]", "[]"),
        ("{{pull_request.labels}}", '[{"name":"bug"}]'),
        ("{{@type}} {{@x-kind}}", "pr.opened k"),
        ("}} { } {{a-b}}", "}} { } dash"),
    ],
)
def test_paths_are_filled_in(template: str, rendered: str) -> None:
    assert message(template) == rendered


def test_all_data_is_one_path() -> None:
    assert message("{{.}}", TaskEvent(data=[1, {"a": None}])) == '[1,{"a":null}]'
    assert message("{{.}}", TaskEvent(data="text")) == "text"


@pytest.mark.parametrize(
    "path",
    ["nothing", "pull_request.nothing", "pull_request.labels.1", "pull_request.labels.name", "pull_request.title.0",
     "pull_request.labels.-1", "pull_request.body.x", "@subject", "@data", "pull_request.number.real", "0.0"],
)  # fmt: skip
def test_a_missing_value_is_named(path: str) -> None:
    assert find(compile_path(path), EVENT) is MISSING
    with pytest.raises(Rejected, match=rf"^message: the task has no {{{{{path}}}}}$") as rejected:
        message(f"a {{{{ {path} }}}} b")
    assert rejected.value.reason == "unrenderable"


def test_an_error_repeats_nothing_of_the_task() -> None:
    secret = TaskEvent(data={"a": {"secret": "hunter2" * 100}})
    for failing in ("{{a.b}}", "{{a.secret}}"):
        with pytest.raises(Rejected) as rejected:
            key(failing, secret)
        assert "hunter2" not in str(rejected.value)


@pytest.mark.parametrize(
    "template",
    ["{{}}", "{{ }}", "{{a b}}", "{{a..b}}", "{{.a}}", "{{a.}}", "{{@}}", "{{@A}}", "{{a|upper}}", "{{a()}}",
     "{{a['b']}}", "{{#if a}}", "{{{a}}}", "{{ü}}", "{{a\nb}}", "{{" + "a" * 200 + "}}", "{{" + "a." * 40 + "a}}"],
)  # fmt: skip
def test_what_is_no_path_is_refused_when_the_template_is_made(template: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        compile_template(template)


def test_open_braces_and_too_many_paths_are_refused() -> None:
    with pytest.raises(ValueError, match="character 2 are never closed"):
        compile_template("a {{b")
    assert len(compile_template("{{a}}" * MAX_PATHS).paths) == MAX_PATHS
    with pytest.raises(ValueError, match=f"at most {MAX_PATHS}"):
        compile_template("{{a}}" * (MAX_PATHS + 1))


@given(value=st.text(), other=JSON)
def test_what_is_filled_in_is_never_read_as_a_template(value: str, other: Any) -> None:
    event = TaskEvent(data={"a": "{{b}}" + value, "b": other})
    assert message("<{{a}}>", event) == "<{{b}}" + value + ">"


@given(data=JSON, template=st.text(st.sampled_from("{}.@ab0 -"), max_size=30))
def test_any_template_is_refused_or_rendered_or_rejected(data: Any, template: str) -> None:
    try:
        compiled = compile_template(template)
    except ValueError:
        return
    assert len(compiled.texts) == len(compiled.paths) + 1
    try:
        rendered = render_message(compiled, TaskEvent(data={"a": data, "b": [data]}))
    except Rejected:
        return
    assert rendered.strip()


# --- bounds --------------------------------------------------------------------------------------------------------


def test_a_message_is_bounded_and_the_path_that_is_too_much_is_named() -> None:
    event = TaskEvent(data={"long": "x" * (MAX_MESSAGE_CHARS // 2), "one": "1"})
    assert len(message("{{long}}{{long}}", event)) == MAX_MESSAGE_CHARS
    with pytest.raises(Rejected, match=rf"^message: with {{{{one}}}} it would be longer than {MAX_MESSAGE_CHARS}"):
        message("{{long}}{{long}}{{one}}", event)


def test_a_message_of_nothing_is_rejected() -> None:
    for template in ("{{empty}}", " {{pull_request.body}}\n", "{{blank}}"):
        with pytest.raises(Rejected, match=r"^message: it would be empty"):
            message(template)


@pytest.mark.parametrize("path", ["pull_request", "pull_request.labels", "pull_request.body", "empty", "blank", "."])
def test_a_session_key_says_something(path: str) -> None:
    with pytest.raises(Rejected, match=r"^session_key: .* must be a text, a number or a boolean"):
        key(f"k/{{{{{path}}}}}")


def test_a_session_key_is_short() -> None:
    assert key("{{@type}}/{{pull_request.number}}/{{pull_request.draft}}") == "pr.opened/7/false"
    event = TaskEvent(data="x" * MAX_SESSION_KEY_CHARS)
    assert key("{{.}}", event) == event.data
    with pytest.raises(Rejected, match=f"^session_key: with .* longer than {MAX_SESSION_KEY_CHARS}"):
        key("{{.}}y", event)
    with pytest.raises(Rejected, match=r"^session_key: the task has no {{nothing}}"):
        key("{{nothing}}")


def test_a_title_is_one_line_and_cut() -> None:
    template = compile_template("{{a}} {{a}}")
    assert render_title(template, TaskEvent(data={"a": "x\n\ty "}), max_chars=500) == "x y x y"
    assert render_title(template, TaskEvent(data={"a": "x" * 400}), max_chars=500) == "x" * 400 + " " + "x" * 99
