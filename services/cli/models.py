"""The model that commands use when none is named, and what models cost."""

from typing import Final

import msgspec

DEFAULT_MODEL: Final = "claude-sonnet-5-5"
"""The only place where the product names a model; a test checks it against the SDK's list of deprecated ones."""


class Price(msgspec.Struct, frozen=True):
    """US dollars per million tokens. `cache_write` is that of the five-minute cache, which the harness uses."""

    input: float
    output: float
    cache_read: float
    cache_write: float

    def of(self, *, input: int, output: int, cache_read: int, cache_write: int) -> float:  # noqa: A002  the field
        """US dollars for these tokens; cached tokens are not part of `input`, as in the Messages API."""
        parts = (
            input * self.input,
            output * self.output,
            cache_read * self.cache_read,
            cache_write * self.cache_write,
        )
        return sum(parts) / 1e6


PRICES: Final[dict[str, Price]] = {
    "claude-fable-5-1": Price(10, 50, 0.25, 12.50),
    "claude-fable-5": Price(10, 50, 1.00, 12.50),
    "claude-opus-5-5": Price(4, 20, 0.20, 5.00),
    "claude-opus-5": Price(5, 25, 0.50, 6.25),
    "claude-opus-4-8": Price(5, 25, 0.50, 6.25),
    "claude-opus-4-7": Price(5, 25, 0.50, 6.25),
    "claude-opus-4-6": Price(5, 25, 0.50, 6.25),
    "claude-opus-4-5": Price(5, 25, 0.50, 6.25),
    "claude-opus-4-1": Price(15, 75, 1.50, 18.75),
    "claude-sonnet-5-5": Price(2, 10, 0.10, 2.50),
    "claude-sonnet-5": Price(2, 10, 0.20, 2.50),
    "claude-sonnet-4-6": Price(3, 15, 0.30, 3.75),
    "claude-sonnet-4-5": Price(3, 15, 0.30, 3.75),
    "claude-haiku-4-5": Price(1, 5, 0.10, 1.25),
}
"""List prices by the beginning of a model id; dates may follow it (`claude-opus-4-5-20251101`).

Source: https://platform.claude.com/docs/en/about-claude/pricing and the overview page of each model, as stored copies
of September and October 2026 have them. The cache read of Sonnet 5.5 is that of the price cut of 2026-10-07. Models
whose price depends on the size of the request (Haiku 5.5) are left out: a wrong figure is worse than none.
"""


def price_of(model: str) -> Price | None:
    """The list price of a model; None when it is not known, also for other vendors' models."""
    for id_, price in PRICES.items():
        rest = model.removeprefix(id_)
        if rest != model and (not rest or (rest[0] in "-@" and rest[1:9].isdigit() and len(rest) == 9)):
            return price
    return None
