"""The price of a model."""

from holdfast.cli.models import DEFAULT_MODEL, price_of


def test_prices_are_those_of_the_named_model_only() -> None:
    for model, dollars in ((DEFAULT_MODEL, 2), ("claude-opus-5-5", 4), ("claude-opus-5", 5)):
        price = price_of(model)
        assert price
        assert price.input == dollars
    assert price_of("claude-opus-4-5-20251101") == price_of("claude-opus-4-5") is not None
    for unknown in ("claude-opus-5-9", "claude-sonnet", "claude-haiku-5-5", "gpt-5", ""):
        assert price_of(unknown) is None, unknown
