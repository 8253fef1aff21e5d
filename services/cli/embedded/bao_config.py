"""The configuration of the embedded OpenBao, as text in HCL. Pure."""

import json
from typing import Final

MOUNT: Final = "holdfast-kv"
AUTH: Final = "holdfast"
ROLE_ID: Final = "holdfast-vault"
OPERATOR_ROLE_ID: Final = "holdfast-operator"
TOKEN_TTL: Final = "15m"  # noqa: S105  a duration


def quoted(value: object) -> str:
    """The text of `value` as a string of HCL 1. `${` would begin a template there, so the dollar sign is escaped."""
    return json.dumps(str(value), ensure_ascii=False).replace("${", "\\u0024{")


def config_text(
    *, port: int, cluster_port: int, certificate: object, key: object, seal: object, raft: object, audit_log: object,
    policy: str, vault_secret: object, operator_secret: object,
) -> str:  # fmt: skip
    """The whole configuration. All arguments but the ports and `policy`, the text of the policy, are paths."""
    # performance_multiplier 1: a single node waits 1 s instead of 5 s before it elects itself at its first start.
    initialize = _INITIALIZE.format(
        policy=policy, mount=MOUNT, auth=AUTH, ttl=TOKEN_TTL, role=ROLE_ID, operator=OPERATOR_ROLE_ID,
        secret=quoted(vault_secret), operator_secret=quoted(operator_secret),
    )  # fmt: skip
    return f"""# Written by `holdfast up` at each start; do not edit.
ui = false
api_addr = "https://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster_port}"
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_cert_file = {quoted(certificate)}
  tls_key_file = {quoted(key)}
  tls_min_version = "tls13"
  max_request_size = 1048576
}}
storage "raft" {{
  path = {quoted(raft)}
  node_id = "embedded"
  performance_multiplier = 1
}}
seal "static" {{
  current_key_id = "1"
  current_key = {quoted(f"file://{seal}")}
}}
audit "file" "main" {{
  options = {{ file_path = {quoted(audit_log)}, mode = "0600" }}
}}
{initialize}"""


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
    data = {{ secret_id = {{ eval_type = "string", eval_source = "file", path = {secret} }} }}
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
    data = {{ secret_id = {{ eval_type = "string", eval_source = "file", path = {operator_secret} }} }}
  }}
}}
"""
