"""The model that commands use when none is named, and what models cost."""

from typing import Final

from holdfast.process.model_catalogue import load_catalogue
from holdfast.process.model_facts import Price

DEFAULT_MODEL: Final = "claude-sonnet-5-5"
"""The only place where the code names a model; a test checks it against the SDK's list of deprecated ones."""


def price_of(model: str) -> Price | None:
    """The list price of a model; None when it is not known, also for other vendors' models."""
    facts = load_catalogue().find(model)
    return facts.price if facts else None
