import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from holdfast.cli.client import definitions
from holdfast.cli.client.target import NoStack, find
from holdfast.cli.client.transcript import Transcript, shortened
from holdfast.cli.models import DEFAULT_MODEL


def event(kind: str, **fields: Any) -> Any:
    return SimpleNamespace(type=kind, id=fields.pop("id", "sevt_1"), **fields)


def text(value: str) -> list[Any]:
    return [SimpleNamespace(type="text", text=value)]


def delta(event_id: str, value: str) -> Any:
    return event("event_delta", event_id=event_id, delta=SimpleNamespace(content=SimpleNamespace(text=value)))


def shown(*events: Any) -> str:
    out = io.StringIO()
    transcript = Transcript(Console(file=out, width=100, highlight=False))
    for one in events:
        transcript.note(one) if isinstance(one, str) else transcript.event(one)
    return out.getvalue()


def test_text_is_shown_as_it_comes_and_only_once() -> None:
    whole = event("agent.message", id="m", content=text("Hello you"))
    assert shown(delta("m", "Hello "), delta("m", "you"), whole) == "Hello you\n"
    assert shown(delta("m", "Hel"), whole) == "Hello you\n"
    assert shown(whole) == "Hello you\n"


def test_text_cut_off_by_a_lost_connection_is_shown_whole_afterwards() -> None:
    whole = event("agent.message", id="m", content=text("Hello you"))
    assert shown(delta("m", "Hel"), "lost", whole).splitlines() == ["Hel", "(lost)", "Hello you"]
    assert shown(delta("m", "Hallo"), whole).splitlines() == ["Hallo", "Hello you"]


def test_nothing_an_agent_writes_controls_the_terminal() -> None:
    evil = "\x1b]0;title\x07\x1b[31mred\r\x9b2J [bold]markup[/]"
    out = shown(
        delta("m", evil),
        event("agent.message", id="x", content=text(evil)),
        event("agent.tool_use", name="bash", input={"command": evil}),
        event("agent.tool_result", is_error=True, content=text(evil)),
        event("session.error", error=SimpleNamespace(message=evil, retry_status=SimpleNamespace(type="terminal"))),
    )
    assert not {"\x1b", "\x07", "\r", "\x9b"} & set(out)
    assert "[bold]markup[/]" in out


def test_long_results_are_shortened_and_say_so() -> None:
    assert shortened("a\nb\n") == "a\nb"
    long = shortened("\n".join(str(n) for n in range(100)))
    assert long.splitlines()[-1].endswith("more characters")
    assert len(shortened("x" * 10_000)) < 1300


def test_events_that_say_nothing_are_shown_only_with_numbers() -> None:
    assert shown(event("span.model_request_start")) == ""
    out = io.StringIO()
    Transcript(Console(file=out, width=100)).event(event("span.model_request_start"), number=7)
    assert out.getvalue().split() == ["7", "span.model_request_start"]


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
