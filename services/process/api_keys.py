"""How an API key of Holdfast is made: its prefix is one that `logs.scrub` recognises."""

import secrets
from typing import Final

PREFIX: Final = "hf_"
"""The first characters of every key. Keys of other services begin so too, but none of the model vendor's."""

KEY_BYTES: Final = 32
"""Random bytes of a key."""


def new_api_key() -> str:
    """A fresh key with 256 random bits."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)
