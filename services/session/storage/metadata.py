"""Patches of metadata; the rules are those of `holdfast.bus.metadata`. Pure."""

from holdfast.bus.metadata import apply_patch
from holdfast.session.http.errors import invalid


def patched(metadata: dict[str, str], patch: dict[str, str | None], *, empty_deletes: bool = False) -> dict[str, str]:
    """Metadata after a patch, as `apply_patch`. Raises ApiError 400 if there would be too many pairs."""
    try:
        return apply_patch(metadata, patch, empty_deletes=empty_deletes)
    except ValueError as exc:
        raise invalid(str(exc)) from None
