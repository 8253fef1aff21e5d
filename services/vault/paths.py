"""Where a document lies below the mount. Every part is checked to be one token, so no name can leave its tenant.

tenants/<tenant>/vaults/<vault>                  public: the vault, and which credentials of it are active
tenants/<tenant>/records/<vault>/<credential>    public: the credential
tenants/<tenant>/secrets/<vault>/<credential>    the secret
service/box                                      the key that secrets are sealed with on the bus
"""

from typing import Final

from holdfast.bus.ids import is_token
from holdfast.vault.errors import Missing

BOX: Final = "service/box"


def _checked(what: str, *parts: str) -> str:
    if not all(map(is_token, parts)):
        raise Missing(what)
    return "/".join(parts)


def vaults(tenant: str) -> str:
    return f"tenants/{_checked('tenant', tenant)}/vaults"


def vault(tenant: str, vault_id: str) -> str:
    return f"{vaults(tenant)}/{_checked('vault', vault_id)}"


def records(tenant: str, vault_id: str) -> str:
    return f"tenants/{_checked('tenant', tenant)}/records/{_checked('vault', vault_id)}"


def record(tenant: str, vault_id: str, credential_id: str) -> str:
    return f"{records(tenant, vault_id)}/{_checked('credential', credential_id)}"


def secrets(tenant: str, vault_id: str) -> str:
    return f"tenants/{_checked('tenant', tenant)}/secrets/{_checked('vault', vault_id)}"


def secret(tenant: str, vault_id: str, credential_id: str) -> str:
    return f"{secrets(tenant, vault_id)}/{_checked('credential', credential_id)}"
