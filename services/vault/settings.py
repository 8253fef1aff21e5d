"""Settings of the vault service."""

from typing import Annotated

from msgspec import Meta

from holdfast.process.settings import ProcessSettings


class VaultSettings(ProcessSettings, frozen=True, kw_only=True):
    """Settings of the vault service; each field is the variable HOLDFAST_<FIELD>."""

    vault_url: str = "https://127.0.0.1:8200"
    """Address of OpenBao or HashiCorp Vault: https, or http on loopback."""
    vault_ca_file: str = ""
    """Path of the certificate authority that signed the server's certificate; empty: those of the system."""
    vault_namespace: str = ""
    """Namespace of the server; empty: the root."""
    vault_mount: str = "holdfast-kv"
    """Mount of the KV version 2 secrets engine."""
    vault_auth: str = "holdfast"
    """Mount of the AppRole auth method."""
    vault_role_id: str = ""
    """Role id of this service."""
    vault_secret_id_file: str = ""
    """Path of the file with the secret id, mode 0600."""
    vault_threads: Annotated[int, Meta(ge=1, le=64)] = 8
    """Requests to the server at the same time."""
    vault_timeout: Annotated[float, Meta(gt=0, le=60)] = 3.0
    """Seconds one request to the server may take."""
    mcp_loopback: bool = False
    """Whether a credential may name an http address on loopback, for tests on one machine. true or false."""
