"""Paths of the documents below the mount. Each part must be one token, so that no id leads out of its tenant.

tenants/<tenant>/vaults/<vault>                  public: the vault, and which credentials of it are active
tenants/<tenant>/records/<vault>/<credential>    public: the credential
tenants/<tenant>/secrets/<vault>/<credential>    the secret
tenants/<tenant>/signing/<kind>/<id>             secrets with which webhooks of a kind of tasks are signed
tenants/<tenant>/webhooks/<webhook>              the secret of a webhook
service/box                                      the private key to which secrets on the bus are sealed
"""

from typing import Final

from holdfast.bus.ids import is_token
from holdfast.vault.errors import Missing

SEALING_KEY: Final = "service/box"


def _token(kind: str, part: str) -> str:
    """`part` if it is one token of a path. Raises Missing: nothing has an id that is none."""
    if not is_token(part):
        raise Missing(kind)
    return part


def vaults(tenant: str) -> str:
    return f"tenants/{_token('tenant', tenant)}/vaults"


def vault(tenant: str, vault_id: str) -> str:
    return f"{vaults(tenant)}/{_token('vault', vault_id)}"


def records(tenant: str, vault_id: str) -> str:
    return f"tenants/{_token('tenant', tenant)}/records/{_token('vault', vault_id)}"


def record(tenant: str, vault_id: str, credential_id: str) -> str:
    return f"{records(tenant, vault_id)}/{_token('credential', credential_id)}"


def secrets(tenant: str, vault_id: str) -> str:
    return f"tenants/{_token('tenant', tenant)}/secrets/{_token('vault', vault_id)}"


def secret(tenant: str, vault_id: str, credential_id: str) -> str:
    return f"{secrets(tenant, vault_id)}/{_token('credential', credential_id)}"


def signing_of(tenant: str, kind: str) -> str:
    return f"tenants/{_token('tenant', tenant)}/signing/{_token('kind', kind)}"


def signing(tenant: str, kind: str, secrets_id: str) -> str:
    return f"{signing_of(tenant, kind)}/{_token('signing secrets', secrets_id)}"


def webhook(tenant: str, webhook_id: str) -> str:
    return f"tenants/{_token('tenant', tenant)}/webhooks/{_token('webhook', webhook_id)}"
