"""The prices of models."""

from pathlib import Path

import pytest

from holdfast.cli.client.target import Target
from holdfast.cli.embedded.runfile import RunFile
from holdfast.cli.models import DEFAULT_MODEL, price_of, prices_of
from holdfast.process.settings import BadSettings

OWN = """
[models.house]
context_window = 100_000
price = { input = 1, output = 2, cache_read = 0, cache_write_5m = 0 }
[models.claude-opus-5-5.price]
input = 7
output = 8
cache_read = 0
cache_write_5m = 0
"""


def target(model: str = "https://api.anthropic.com", models_file: str = "") -> Target:
    stack = RunFile(
        base_url="", api_key="", data="", logs="", nats_url="", credentials={}, supervisor=0, processes={}, health={},
        model_base_url=model, models_file=models_file,
    )  # fmt: skip
    return Target("http://127.0.0.1:1", "key", stack)


def dollars(model: str, stack: Target, **environ: str) -> float | None:
    """The price of a million input tokens."""
    price = price_of(model, prices_of(stack, environ))
    return price.input if price else None


@pytest.fixture
def own_file(tmp_path: Path) -> str:
    path = tmp_path / "models.toml"
    path.write_text(OWN)
    return str(path)


def test_prices_are_those_of_the_named_model_only() -> None:
    for model, expected in ((DEFAULT_MODEL, 2), ("claude-opus-5-5", 4), ("claude-opus-5", 5)):
        assert dollars(model, target()) == expected
    assert dollars("claude-opus-4-5-20251101", target()) == dollars("claude-opus-4-5", target()) is not None
    for unknown in ("claude-opus-5-9", "claude-sonnet", "claude-haiku-5-5", "gpt-5", ""):
        assert dollars(unknown, target()) is None, unknown
    assert dollars(DEFAULT_MODEL, target("http://127.0.0.1:11434")) is None, "the list price of another vendor"
    assert dollars(DEFAULT_MODEL, Target("http://far.away", "key")) == 2, "an address alone says nothing of the model"


def test_the_file_of_the_user_has_the_prices_of_its_models(own_file: str) -> None:
    for stack in (target(models_file=own_file), target("http://127.0.0.1:11434", models_file=own_file)):
        assert dollars("house", stack) == 1
        assert dollars("claude-opus-5-5", stack) == 7
        assert dollars("claude-opus-5-5-20260101", stack) == 7
    assert dollars(DEFAULT_MODEL, target(models_file=own_file)) == 2
    assert dollars(DEFAULT_MODEL, target("http://127.0.0.1:11434", models_file=own_file)) is None
    assert dollars("house", target(), HOLDFAST_MODELS_FILE=own_file) == 1
    assert dollars("house", target(models_file="/none"), HOLDFAST_MODELS_FILE=own_file) == 1, "this terminal first"
    assert dollars("house", Target("http://far.away", "key"), HOLDFAST_MODELS_FILE=own_file) == 1


def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"none\.toml: cannot be read"):
        prices_of(target(models_file=str(tmp_path / "none.toml")), {})
