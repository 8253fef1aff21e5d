"""Times, tokens and money in words."""

from types import SimpleNamespace

import pytest

from holdfast.cli.client.terminal.figures import Usage, duration, money, short_count
from holdfast.cli.models import DEFAULT_MODEL, price_of
from holdfast.process.model_catalogue import load_catalogue


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.42, "0.4 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_times_are_words(seconds: float, words: str) -> None:
    assert duration(seconds).replace("60 s", "1 min 0 s") == words


def test_money_is_shown_only_for_models_with_a_known_price() -> None:
    usage = Usage()
    usage.add(SimpleNamespace(input_tokens=1_000_000, output_tokens=100_000, cache_read_input_tokens=2_000_000,
                              cache_creation_input_tokens=400_000))  # fmt: skip
    usage.add(SimpleNamespace(input_tokens=None, output_tokens=None))
    assert usage.words(price_of("claude-sonnet-4-5-20250929", load_catalogue())) == [
        "tokens: 1,400,000 in, 100,000 out, 2,000,000 from cache", "$6.60"
    ]  # fmt: skip
    assert usage.words(price_of("qwen3-coder", load_catalogue())) == [
        "tokens: 1,400,000 in, 100,000 out, 2,000,000 from cache"
    ]
    assert Usage().words(price_of(DEFAULT_MODEL, load_catalogue())) == []
    assert [money(0), money(0.0042), money(0.123), money(12.3), money(0.0001)] == [
        "$0.00", "$0.0042", "$0.12", "$12.30", "under $0.001"
    ]  # fmt: skip
    assert [short_count(n) for n in (950, 1234, 3_400_000)] == ["950", "1.2k", "3.4M"]
