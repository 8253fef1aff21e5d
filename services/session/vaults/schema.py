"""The shapes of vaults and credentials. The secrets in bodies are sealed before they leave the edge. Pure."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.bus.credentials import AuthCreate, AuthShown, AuthUpdate
from holdfast.bus.metadata import Metadata, MetadataPatch
from holdfast.session.http.pagination import PageQuery
from holdfast.session.http.timestamps import TimeText

DisplayName = Annotated[str, Meta(min_length=1, max_length=255)]


class _Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ListQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    include_archived: bool = False


class VaultCreate(_Params, frozen=True, kw_only=True):
    display_name: DisplayName
    metadata: Metadata | None = None


class VaultUpdate(_Params, frozen=True, kw_only=True):
    """A field that is left out or null stays unchanged."""

    display_name: DisplayName | None = None
    metadata: MetadataPatch | None = None


class CredentialCreate(_Params, frozen=True, kw_only=True):
    auth: AuthCreate
    display_name: DisplayName | None = None
    metadata: Metadata | None = None


class CredentialUpdate(_Params, frozen=True, kw_only=True):
    """A field that is left out stays unchanged; null clears the display name."""

    auth: AuthUpdate | UnsetType = UNSET
    display_name: DisplayName | UnsetType | None = UNSET
    metadata: MetadataPatch | None = None


# --- answers: the vault service makes these objects ------------------------------------------------------------------


class VaultObject(msgspec.Struct, frozen=True, kw_only=True):
    """A vault."""

    id: str
    type: Literal["vault"]
    display_name: str
    metadata: dict[str, str]
    created_at: TimeText
    updated_at: TimeText
    archived_at: TimeText | None


class CredentialObject(msgspec.Struct, frozen=True, kw_only=True):
    """A credential, without its secret."""

    id: str
    type: Literal["vault_credential"]
    vault_id: str
    display_name: str | None
    auth: AuthShown
    metadata: dict[str, str]
    created_at: TimeText
    updated_at: TimeText
    archived_at: TimeText | None


class DeletedVault(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: Literal["vault_deleted"]


class DeletedCredential(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: Literal["vault_credential_deleted"]
