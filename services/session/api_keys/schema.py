"""The shapes of API keys: bodies of requests, and the objects in answers. Pure."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from holdfast.session.http import timestamps
from holdfast.session.http.key_record import KeyRecord
from holdfast.session.http.pagination import PageQuery
from holdfast.session.http.roles import Role
from holdfast.session.http.timestamps import TimeText

Tenant = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
"""One token of a subject."""


class ApiKeyCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/api_keys`. Without `tenant`: that of the caller's key."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    role: Role
    tenant: Tenant | None = None


class ListQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters of the list of API keys. Revoked keys are left out unless asked for."""

    include_revoked: bool = False
    tenant: str | None = None

    def includes(self, record: KeyRecord) -> bool:
        """Whether the filters let that key through."""
        return (self.include_revoked or record.revoked_at is None) and self.tenant in (None, record.tenant)


class ApiKeyObject(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, without the key itself. `created_by` is the id of another key, null for the operator's first one."""

    id: str
    type: Literal["api_key"]
    name: str
    role: Role
    tenant: str
    created_at: TimeText
    created_by: str | None
    revoked_at: TimeText | None


class CreatedApiKey(ApiKeyObject, frozen=True, kw_only=True):
    """A new API key. Nothing shows `key` again: only its hash is stored."""

    key: str


def to_api(record: KeyRecord) -> ApiKeyObject:
    """The object that clients see."""
    return ApiKeyObject(
        id=record.id,
        type="api_key",
        name=record.name,
        role=record.acts_as,
        tenant=record.tenant,
        created_at=timestamps.text(record.created),
        created_by=record.created_by,
        revoked_at=timestamps.text_or_none(record.revoked_at),
    )
