"""`models.list` and `models.retrieve` of the official SDK, with the packaged catalogue and a file over it."""

from collections.abc import Generator
from typing import Any

import anthropic
import pytest

from holdfast.process.model_catalogue import load_catalogue
from tests.support.edge import SessionService, envelope, session_service

FILE = """
[models.our-model]
context_window = 32_000
display_name = "Ours"
released = 2026-03-01

[models.claude-opus-4-6]
lifecycle = "deprecated"
"""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    folder = tmp_path_factory.mktemp("edge")
    file = folder / "models.toml"
    file.write_text(FILE)
    with session_service(folder, {"HOLDFAST_MODELS_FILE": str(file)}) as running:
        yield running


def test_both_lists_of_the_sdk_have_every_model_page_by_page(edge: SessionService) -> None:
    client = edge.client()
    whole = [model.id for model in client.models.list(limit=1000)]
    assert (
        {"our-model", "claude-opus-5-5"} <= set(whole) <= {name for name, _ in load_catalogue().listed} | {"our-model"}
    )
    assert "claude-opus-4-1" not in whole, "it is retired"
    assert [model.id for model in client.beta.models.list(limit=3)] == whole
    assert [model.id for model in client.models.list(limit=3)] == whole
    first = client.models.list(limit=3)
    assert (len(first.data), first.has_more, first.first_id, first.last_id) == (3, True, whole[0], whole[2])
    backwards: list[str] = []
    page = client.models.list(limit=4, before_id=whole[-1])
    while page.data:
        backwards = [model.id for model in page.data] + backwards
        if not page.has_more:
            break
        page = client.models.list(limit=4, before_id=page.first_id or "")
    assert backwards == whole[:-1]


def test_a_model_is_told_with_what_is_known_of_it(edge: SessionService) -> None:
    client: Any = edge.client()
    ours = client.models.retrieve("our-model")
    assert (ours.type, ours.display_name, ours.max_input_tokens, ours.max_tokens) == ("model", "Ours", 32_000, None)
    assert ours.created_at.isoformat() == "2026-03-01T00:00:00+00:00"
    opus = client.beta.models.retrieve("claude-opus-5-5")
    assert (opus.display_name, opus.line, opus.lifecycle) == ("Claude Opus 5.5", "opus", "active")
    assert (opus.max_input_tokens, opus.max_tokens, opus.created_at.year) == (1_000_000, 128_000, 1970)
    for alias in ("claude-opus-5-5-20260901", "claude-opus-5-5@20260901", "us.anthropic.claude-opus-5-5-v1:0"):
        assert client.models.retrieve(alias).id == "claude-opus-5-5"
    for unknown in ("gpt", "claude-opus-5-5-", "a b", "x" * 300):
        with pytest.raises(anthropic.NotFoundError, match="model not found"):
            client.models.retrieve(unknown)


def test_models_are_listed_by_their_lifecycle(edge: SessionService) -> None:
    client = edge.client()
    assert [model.id for model in client.models.list(lifecycle=["retired"])] == ["claude-opus-4-1"]
    assert [model.id for model in client.models.list(lifecycle=["deprecated"])] == ["claude-opus-4-6"]
    assert "claude-opus-4-6" in [model.id for model in client.models.list()]
    three = client.models.list(lifecycle=["active", "deprecated", "retired"], limit=1000)
    assert {model.id for model in three} == {name for name, _ in load_catalogue().listed} | {"our-model"}


def test_a_wrong_query_is_refused(edge: SessionService) -> None:
    with edge.http() as http:
        for query in ("limit=0", "limit=1001", "after_id=gpt", "before_id=", "lifecycle=new", "page=x",
                      "after_id=our-model&before_id=our-model", "after_id=claude-opus-4-1"):  # fmt: skip
            envelope(http.get(f"/v1/models?{query}"), 400, "invalid_request_error")
