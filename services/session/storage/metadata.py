"""Metadata: up to 16 pairs of short strings that callers keep on an object of theirs. Pure."""

from typing import Annotated, Final

from msgspec import Meta

from holdfast.session.http.errors import invalid

MAX_PAIRS: Final = 16
"""Pairs on one object."""

Key = Annotated[str, Meta(min_length=1, max_length=64)]
Value = Annotated[str, Meta(max_length=512)]

Metadata = Annotated[dict[Key, Value], Meta(max_length=MAX_PAIRS)]
"""As it is sent at creation."""

MetadataPatch = dict[Key, Value | None]
"""As it is sent with an update: null deletes a key."""


def patched(now: dict[str, str], patch: dict[str, str | None], *, empty_deletes: bool = False) -> dict[str, str]:
    """Metadata after a patch; with `empty_deletes` an empty string deletes its key too. Raises Problem 400 if full."""
    after = dict(now)
    for key, value in patch.items():
        if value is None or (empty_deletes and not value):
            after.pop(key, None)
        else:
            after[key] = value
    if len(after) > MAX_PAIRS:
        raise invalid(f"metadata: {len(after)} pairs; at most {MAX_PAIRS} are allowed")
    return after
