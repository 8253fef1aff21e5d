"""The price of a model."""

from holdfast.cli.models import DEFAULT_MODEL, PRICES, price_of


def test_prices_are_those_of_the_named_model_only() -> None:
    assert price_of(DEFAULT_MODEL) == PRICES[DEFAULT_MODEL]
    assert price_of("claude-opus-5-5") == PRICES["claude-opus-5-5"]
    assert price_of("claude-opus-5") == PRICES["claude-opus-5"]
    assert price_of("claude-opus-4-5-20251101") == PRICES["claude-opus-4-5"]
    for unknown in ("claude-opus-5-9", "claude-sonnet", "claude-haiku-5-5", "gpt-5", ""):
        assert price_of(unknown) is None, unknown
