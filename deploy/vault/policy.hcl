# What the vault service may do. The mount is HOLDFAST_VAULT_MOUNT.
path "holdfast-kv/data/tenants/*"     { capabilities = ["create", "read", "update"] }
path "holdfast-kv/metadata/tenants/*" { capabilities = ["read", "list", "delete"] }
path "holdfast-kv/data/service/*"     { capabilities = ["create", "read"] }
# It makes sure that the engine keeps one version of each secret, so that what was rotated away cannot be read back.
path "holdfast-kv/config"             { capabilities = ["create", "read", "update"] }
