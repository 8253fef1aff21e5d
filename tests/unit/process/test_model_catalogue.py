"""What is known of models: the packaged file, a file of the user over it, and what is wrong with one."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.harness.settings import HarnessSettings
from holdfast.process.model_catalogue import load_catalogue
from holdfast.process.model_facts import ModelFacts
from holdfast.process.settings import BadSettings


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    return tmp_path / "models.toml"


def test_a_listed_model_has_its_window_its_output_and_its_prices() -> None:
    facts = load_catalogue().facts("claude-sonnet-5-5")
    assert (facts.context_window, facts.max_output) == (1_000_000, 128_000)
    assert facts.price
    assert (facts.price.input, facts.price.output, facts.price.cache_read) == (2, 10, 0.1)
    assert (facts.price.cache_write_5m, facts.price.cache_write_1h) == (2.5, 4)
    assert facts.price.of(input=1_000_000, output=100_000, cache_read=2_000_000, cache_write=400_000) == 4.2


@pytest.mark.parametrize(
    "name",
    [
        "claude-opus-4-5",
        "claude-opus-4-5-20251101",
        "claude-opus-4-5@20251101",
        "anthropic.claude-opus-4-5-20251101-v1:0",
        "us.anthropic.claude-opus-4-5-20251101-v1:0",
        "global.anthropic.claude-opus-4-5-20251101-v1:0",
    ],
)
def test_a_model_is_found_by_each_spelling_of_its_id(name: str) -> None:
    catalogue = load_catalogue()
    assert catalogue.find(name) is catalogue.find("claude-opus-4-5") is not None


@pytest.mark.parametrize("name", ["claude-opus-5-9", "claude-sonnet", "claude-opus-4-5-2025110", "qwen3-coder", ""])
def test_a_model_that_is_not_listed_gets_the_default(name: str) -> None:
    catalogue = load_catalogue()
    assert catalogue.find(name) is None
    assert catalogue.facts(name) == ModelFacts(context_window=200_000)


@pytest.mark.parametrize(
    ("facts", "max_tokens", "response", "context"),
    [
        (ModelFacts(context_window=200_000), 16_384, 16_384, 160_000),
        (ModelFacts(context_window=1_000_000, max_output=128_000), 16_384, 16_384, 800_000),
        (ModelFacts(context_window=32_768), 16_384, 6_553, 26_214),
        (ModelFacts(context_window=32_768, max_output=16_384), 16_384, 16_384, 16_384),
        (ModelFacts(context_window=200_000, max_output=64_000), 64_000, 64_000, 136_000),
        (ModelFacts(context_window=10_000, max_output=9_000), 16_384, 9_000, 5_000),
        (ModelFacts(context_window=1_000_000, compact_at=160_000), 16_384, 16_384, 160_000),
    ],
)
def test_a_request_and_its_response_fit_the_window(
    facts: ModelFacts, max_tokens: int, response: int, context: int
) -> None:
    settings = HarnessSettings(max_tokens=max_tokens)
    assert settings.response_tokens(facts) == response
    assert settings.limits(facts).context_tokens == context


TOML = """
[default]
context_window = 32_768

[models.qwen3-coder]
context_window = 262_144
price = { input = 0.1, output = 0.2, cache_read = 0, cache_write_5m = 0 }

[models.claude-sonnet-5-5]
compact_at = 160_000
"""


def test_a_users_file_lies_over_the_packaged_one(user_file: Path) -> None:
    user_file.write_text(TOML)
    found = load_catalogue(str(user_file))
    assert found.facts("anything").context_window == 32_768
    assert found.facts("qwen3-coder").context_window == 262_144
    sonnet = load_catalogue().facts("claude-sonnet-5-5")
    assert found.facts("claude-sonnet-5-5") == replace(sonnet, compact_at=160_000)
    assert found.facts("claude-haiku-4-5") == load_catalogue().facts("claude-haiku-4-5")


def test_a_users_file_may_be_json(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_text(json.dumps({"models": {"m": {"context_window": 5000}}}))
    assert load_catalogue(str(path)).facts("m").context_window == 5000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[default]\ncontext_window = \n", "line 2"),
        ("[models.m]\ncontext_window = 'many'\n", "models.m.context_window: Expected `int`, got `str`"),
        ("[models.m]\ncontext_window = 10\n", "models.m.context_window: Expected `int` >= 1000"),
        ("[models.m]\nmax_output = 10\n", "models.m: Object missing required field `context_window`"),
        ("[models.m]\ncontext_window = 5000\nwindow = 1\n", "models.m: Object contains unknown field `window`"),
        ("[models.m]\ncontext_window = 5000\nprice = { input = -1 }\n", "models.m.price.input: Expected `float` >= 0"),
        ("[models.m]\ncontext_window = 5000\ncompact_at = 6000\n", "models.m.compact_at: must not be above"),
        ("[default]\ncompact_at = 'x'\n", "default.compact_at: Expected `int"),
        ("models = 3\n", "models: must be a table"),
        ("[models]\nm = 3\n", "models.m: must be a table"),
        ("[model.m]\ncontext_window = 5000\n", "unknown key model; there are `models` and `default`"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(user_file: Path, text: str, told: str) -> None:
    user_file.write_text(text)
    with pytest.raises(BadSettings) as wrong:
        load_catalogue(str(user_file))
    assert str(wrong.value).startswith(f"HOLDFAST_MODELS_FILE: {user_file}: ")
    assert told in str(wrong.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="cannot be read: No such file or directory"):
        load_catalogue(str(tmp_path / "none.toml"))
    (tmp_path / "bad.json").write_text("{\n  1\n}")
    with pytest.raises(BadSettings, match="line 2 column 3"):
        load_catalogue(str(tmp_path / "bad.json"))
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(BadSettings, match="must be a table with"):
        load_catalogue(str(tmp_path / "list.json"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadSettings, match="HOLDFAST_MODELS_FILE: "):
        load_catalogue(str(tmp_path / "bytes.toml"))
