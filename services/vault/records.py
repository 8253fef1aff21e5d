"""The public documents of vaults and credentials: as they are stored, and as the API shows them. Pure."""

from typing import Any

import msgspec
from msgspec import field

from holdfast.bus.times import time_text


class Vault(msgspec.Struct, frozen=True, kw_only=True):
    """Times are microseconds since 1970, UTC; 0: it has not happened. The stored names of three of them are shorter."""

    v: int = 1
    id: str
    display_name: str
    metadata: dict[str, str]
    created_at: int = field(name="created")
    updated_at: int = field(name="updated")
    archived_at: int = field(name="archived", default=0)
    deleting: bool = False
    """True once deletion has begun: the API shows the vault no more, and a repeated delete finishes the deletion."""
    active: dict[str, str] = {}
    """Unique key of each active credential by its id. A credential exists from the moment at which it is here."""

    def to_api(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "vault",
            "display_name": self.display_name,
            "metadata": self.metadata,
            "created_at": time_text(self.created_at),
            "updated_at": time_text(self.updated_at),
            "archived_at": time_text(self.archived_at) if self.archived_at else None,
        }


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """Times as in `Vault`. `auth` is the public part of `auth` in the API; the secret part is a document of its own."""

    v: int = 1
    id: str
    vault: str
    display_name: str | None
    metadata: dict[str, str]
    auth: dict[str, Any]
    created_at: int = field(name="created")
    updated_at: int = field(name="updated")
    archived_at: int = field(name="archived", default=0)

    def to_api(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "vault_credential",
            "vault_id": self.vault,
            "display_name": self.display_name,
            "auth": self.auth,
            "metadata": self.metadata,
            "created_at": time_text(self.created_at),
            "updated_at": time_text(self.updated_at),
            "archived_at": time_text(self.archived_at) if self.archived_at else None,
        }
