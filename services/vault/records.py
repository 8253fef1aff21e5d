"""What is public about vaults and credentials, as it is stored and as the wire shows it. Pure."""

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  naive throughout, so that no conversion touches the local zone


def time_text(at: int) -> str:
    """Microseconds since 1970 (UTC) as RFC 3339."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds") + "Z"


class Vault(msgspec.Struct, frozen=True, kw_only=True):
    """Times are microseconds since 1970, UTC; 0: not yet."""

    v: int = 1
    id: str
    display_name: str
    metadata: dict[str, str]
    created: int
    updated: int
    archived: int = 0
    deleting: bool = False
    """Deletion has begun: nobody sees the vault any more, and a repeated delete finishes it."""
    active: dict[str, str] = {}
    """Id of each active credential, with the key that it holds. A credential exists once it is here."""

    def wire(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "vault",
            "display_name": self.display_name,
            "metadata": self.metadata,
            "created_at": time_text(self.created),
            "updated_at": time_text(self.updated),
            "archived_at": time_text(self.archived) if self.archived else None,
        }


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """`auth` is the public part of the wire's; the secret part lies elsewhere."""

    v: int = 1
    id: str
    vault: str
    display_name: str | None
    metadata: dict[str, str]
    auth: dict[str, Any]
    created: int
    updated: int
    archived: int = 0

    def wire(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "vault_credential",
            "vault_id": self.vault,
            "display_name": self.display_name,
            "auth": self.auth,
            "metadata": self.metadata,
            "created_at": time_text(self.created),
            "updated_at": time_text(self.updated),
            "archived_at": time_text(self.archived) if self.archived else None,
        }
