"""Bodies of administrative requests, and their checks. No error text repeats a value. Pure."""

from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.bus.metadata import Metadata, MetadataPatch, apply_patch
from holdfast.vault.errors import Invalid

Name = Annotated[str, Meta(min_length=1, max_length=255)]

MAX_OVERLAP_S: Final = 7 * 24 * 3600
"""Longest time for which the secret of a webhook stays valid that was replaced."""

T = TypeVar("T", bound=msgspec.Struct)


class VaultCreate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    display_name: Name
    metadata: Metadata = {}


class VaultUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    display_name: Name | UnsetType | None = UNSET
    metadata: MetadataPatch | None = None


class CredentialCreate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`auth` is no field: it comes in `VaultRequest.sealed`."""

    display_name: Name | None = None
    metadata: Metadata = {}


class CredentialUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    display_name: Name | UnsetType | None = UNSET
    metadata: MetadataPatch | None = None


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query of a list, newest first. `after` is the last id of the page before."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: str | None = None
    include_archived: bool = False


class SigningKeep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The secrets come in `VaultRequest.sealed`. `in_use`: id of those that the binding of the kind names now."""

    kind: Name
    in_use: str = ""


class SigningName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Name
    id: Name


class SigningOpen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer is sealed to `public_key`."""

    kind: Name
    id: Name
    public_key: bytes


class WebhookRotate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The new secret comes in `VaultRequest.sealed`; those before it stay valid for `overlap_s` seconds."""

    overlap_s: Annotated[int, Meta(ge=0, le=MAX_OVERLAP_S)]


def read(kind: type[T], raw: dict[str, Any]) -> T:
    """`raw` as a struct of `kind`. Raises Invalid with the field and the rule."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as exc:
        rule, _, path = str(exc).partition(" - at `")
        where = path.rstrip("`").removeprefix("$").removeprefix(".")
        raise Invalid(f"{where}: {rule}" if where else rule) from None


def patched(metadata: dict[str, str], patch: dict[str, str | None] | None) -> dict[str, str]:
    """`metadata` with the patch: null removes a key, a text sets it. Raises Invalid above 16 pairs."""
    try:
        return apply_patch(metadata, patch or {})
    except ValueError as exc:
        raise Invalid(str(exc)) from None
