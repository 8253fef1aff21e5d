"""The model that commands use when none is named, and what models cost."""

import os
from collections.abc import Mapping
from typing import Final

from holdfast.cli.client.target import Target
from holdfast.process.model_catalogue import load_catalogue
from holdfast.process.model_facts import ModelCatalogue, Price

DEFAULT_MODEL: Final = "claude-sonnet-5-5"
"""The only place where the code names a model; a test checks it against the SDK's list of deprecated ones."""


def prices_of(target: Target, environ: Mapping[str, str] = os.environ) -> ModelCatalogue:
    """The models of that stack whose prices are known. Raises BadSettings if their file cannot be used.

    The file is HOLDFAST_MODELS_FILE of this terminal, or else that of the stack. If the stack calls another address
    than the vendor's, the list prices do not hold, and only the models of the file are known.
    """
    file = environ.get("HOLDFAST_MODELS_FILE") or (target.local.models_file if target.local else "")
    return load_catalogue(file, only_given=target.is_vendors_model is False)


def price_of(model: str, prices: ModelCatalogue) -> Price | None:
    """The price of a model; None when it is not known."""
    facts = prices.find(model)
    return facts.price if facts else None
