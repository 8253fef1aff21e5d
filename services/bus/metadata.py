"""Metadata: up to 16 pairs of short strings that clients keep on an object, with one set of rules for all kinds. Pure.

Sessions, agents and environments are checked by the session service, vaults and credentials by the vault service too.
"""

from typing import Annotated, Final

from msgspec import Meta

MAX_PAIRS: Final = 16
"""Pairs on one object."""

Key = Annotated[str, Meta(min_length=1, max_length=64)]
Value = Annotated[str, Meta(max_length=512)]

Metadata = Annotated[dict[Key, Value], Meta(max_length=MAX_PAIRS)]
"""The field `metadata` of a creation."""

MetadataPatch = dict[Key, Value | None]
"""The field `metadata` of an update: null deletes a key."""


def apply_patch(
    metadata: dict[str, str], patch: dict[str, str | None], *, empty_deletes: bool = False
) -> dict[str, str]:
    """Metadata after a patch; with `empty_deletes` an empty string deletes its key too. Raises ValueError if full."""
    after = dict(metadata)
    for key, value in patch.items():
        if value is None or (empty_deletes and not value):
            after.pop(key, None)
        else:
            after[key] = value
    if len(after) > MAX_PAIRS:
        raise ValueError(f"metadata: {len(after)} pairs; at most {MAX_PAIRS} are allowed")
    return after
