"""The shapes of vaults and credentials. The secrets in bodies are sealed before they leave the edge. Pure."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.bus.metadata import Metadata, MetadataPatch
from holdfast.session.http.pagination import PageQuery
from holdfast.session.http.timestamps import TimeText

DisplayName = Annotated[str, Meta(min_length=1, max_length=255)]
Url = Annotated[str, Meta(min_length=1, max_length=2048)]
Token = Annotated[str, Meta(min_length=1, max_length=8192)]


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


class McpOauth(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="mcp_oauth"):
    """Decoded only to be refused by name."""


class EnvironmentVariable(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="environment_variable"):
    """Decoded only to be refused by name."""


UnavailableAuth = McpOauth | EnvironmentVariable
"""Kinds of credentials that the API has and this version lacks; the vault service has the same list."""


class StaticBearerCreate(_Params, frozen=True, kw_only=True, tag_field="type", tag="static_bearer"):
    mcp_server_url: Url
    token: Token


class StaticBearerUpdate(_Params, frozen=True, kw_only=True, tag_field="type", tag="static_bearer"):
    """The address cannot be changed; it may be repeated."""

    mcp_server_url: Url | UnsetType = UNSET
    token: Token | UnsetType | None = UNSET


class CredentialCreate(_Params, frozen=True, kw_only=True):
    auth: StaticBearerCreate | UnavailableAuth
    display_name: DisplayName | None = None
    metadata: Metadata | None = None


class CredentialUpdate(_Params, frozen=True, kw_only=True):
    """A field that is left out stays unchanged; null clears the display name."""

    auth: StaticBearerUpdate | UnavailableAuth | UnsetType = UNSET
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


class StaticBearerObject(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="static_bearer"):
    """The public part of a bearer token."""

    mcp_server_url: str


class CredentialObject(msgspec.Struct, frozen=True, kw_only=True):
    """A credential, without its secret."""

    id: str
    type: Literal["vault_credential"]
    vault_id: str
    display_name: str | None
    auth: StaticBearerObject
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
