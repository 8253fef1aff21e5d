"""Every HOLDFAST_* variable that any part of Holdfast reads. A process refuses to start with one that is not here.

All services of a machine often share one environment, so each of them knows the variables of all. A new field of a
settings struct needs its line here; a unit test compares this list with the structs. Pure.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "HOLDFAST_"

ALL_SERVICES: Final = (
    "HOLDFAST_NATS_URL", "HOLDFAST_NATS_CREDENTIALS", "HOLDFAST_HEALTH_PORT", "HOLDFAST_HEALTH_HOST",
    "HOLDFAST_LOG_LEVEL", "HOLDFAST_CELL", "HOLDFAST_DRAIN_TIMEOUT",
)  # fmt: skip

SESSION: Final = (
    "HOLDFAST_HOST", "HOLDFAST_PORT", "HOLDFAST_API_KEY_FILE", "HOLDFAST_BODY_LIMIT", "HOLDFAST_BODY_TIMEOUT",
    "HOLDFAST_SESSION_DATA", "HOLDFAST_DISK_FOLDER", "HOLDFAST_OTHER_CELLS", "HOLDFAST_HOSTS",
    "HOLDFAST_KEY_REQUESTS_PER_S", "HOLDFAST_TENANT_REQUESTS_PER_S", "HOLDFAST_TENANT_RUNNING_TURNS",
    "HOLDFAST_MAX_STREAMS", "HOLDFAST_HEAD_TIMEOUT", "HOLDFAST_SEND_TIMEOUT", "HOLDFAST_WEBHOOK_HOSTS",
    "HOLDFAST_WEBHOOK_TIMEOUT", "HOLDFAST_WEBHOOK_RETRY_FIRST", "HOLDFAST_WEBHOOK_RETRY_MOST",
    "HOLDFAST_WEBHOOK_DISABLE_AFTER", "HOLDFAST_FILE_LIMIT", "HOLDFAST_TENANT_FILES", "HOLDFAST_TENANT_FILES_BYTES",
    "HOLDFAST_UPLOADS",
)  # fmt: skip

HARNESS: Final = (
    "HOLDFAST_NAME", "HOLDFAST_MODEL", "HOLDFAST_MODEL_BASE_URL", "HOLDFAST_MODEL_KEY_FILE", "HOLDFAST_MODEL_SILENCE",
    "HOLDFAST_MODEL_AUTH", "HOLDFAST_MODEL_BETAS", "HOLDFAST_MODELS_FILE", "HOLDFAST_MODEL_ATTEMPTS",
    "HOLDFAST_MODEL_PATIENCE", "HOLDFAST_RETRY_FIRST", "HOLDFAST_RETRY_MOST", "HOLDFAST_RETRY_AFTER_MOST",
    "HOLDFAST_MAX_TOKENS", "HOLDFAST_ROUNDS", "HOLDFAST_SESSIONS", "HOLDFAST_TENANT_SESSIONS",
    "HOLDFAST_HOLD", "HOLDFAST_SNAPSHOT_EVERY", "HOLDFAST_EGRESS",
)  # fmt: skip

SANDBOX: Final = (
    "HOLDFAST_DATA_DIR", "HOLDFAST_DRIVER", "HOLDFAST_MEMORY_BYTES", "HOLDFAST_PIDS", "HOLDFAST_CPUS",
    "HOLDFAST_TMP_BYTES", "HOLDFAST_DISK_BYTES", "HOLDFAST_DISK_FILES", "HOLDFAST_DISK_RESERVE_BYTES",
    "HOLDFAST_DISK_RESERVE_FILES",
    "HOLDFAST_ALLOW_WEAK_LIMITS", "HOLDFAST_CALL_TIMEOUT", "HOLDFAST_CALL_TIMEOUT_MAX", "HOLDFAST_IDLE_AFTER",
    "HOLDFAST_LEASE", "HOLDFAST_CREATES_AT_ONCE", "HOLDFAST_MAX_SANDBOXES",
    "HOLDFAST_PROBE_INTERVAL", "HOLDFAST_DOCKER_SOCKET", "HOLDFAST_DOCKER_IMAGE", "HOLDFAST_DOCKER_RUNTIME",
    "HOLDFAST_DOCKER_TIMEOUT",
    "HOLDFAST_EGRESS_HOSTS", "HOLDFAST_EGRESS_CONNECTIONS", "HOLDFAST_EGRESS_BYTES",
)  # fmt: skip

VAULT: Final = (
    "HOLDFAST_VAULT_URL", "HOLDFAST_VAULT_CA_FILE", "HOLDFAST_VAULT_NAMESPACE", "HOLDFAST_VAULT_MOUNT",
    "HOLDFAST_VAULT_AUTH", "HOLDFAST_VAULT_ROLE_ID", "HOLDFAST_VAULT_SECRET_ID_FILE", "HOLDFAST_VAULT_THREADS",
    "HOLDFAST_VAULT_TIMEOUT", "HOLDFAST_MCP_LOOPBACK",
)  # fmt: skip

PROVISION: Final = ("HOLDFAST_REPLICAS", "HOLDFAST_PUBLIC_EVENTS_BYTES", "HOLDFAST_READERS")
"""Read by `python -m holdfast.bus.jetstream.provision`."""

SERVICES: Final = frozenset((*ALL_SERVICES, *SESSION, *HARNESS, *SANDBOX, *VAULT, *PROVISION))

COMMAND_LINE: Final = frozenset((
    "HOLDFAST_API_KEY", "HOLDFAST_BASE_URL", "HOLDFAST_DATA", "HOLDFAST_MODEL_API_KEY", "HOLDFAST_READY_FD",
))  # fmt: skip
"""Read by the program `holdfast`."""

NATS_SERVER: Final = frozenset(
    f"HOLDFAST_NATS_{user}_PASSWORD" for user in ("ADMIN", "SESSION", "HARNESS", "SANDBOX", "VAULT", "PUBLISHER")
)
"""Read by nats-server, in deploy/nats/permissions.conf."""

_NATS_SERVER_OF_CELL: Final = re.compile(
    "HOLDFAST_NATS_((HARNESS|SANDBOX)_[A-Z0-9]{1,8}|READER_[A-Z][A-Z0-9]{0,23})_PASSWORD"
)
"""Those that nats-server reads for the users of further cells, and for readers of public events."""

TESTS: Final = frozenset(("HOLDFAST_FAULT", "HOLDFAST_FUZZ"))

GO_FD: Final = "HOLDFAST_GO_FD"
"""Descriptor of a pipe, which `holdfast up` gives to a process that it starts; see `process/go.py`."""

FORK_FD: Final = "HOLDFAST_FORK_FD"
"""Descriptor of the socket on which a process that `holdfast up` starts gets orders; see `process/fork_server.py`."""

KNOWN: Final = SERVICES | COMMAND_LINE | NATS_SERVER | TESTS | {GO_FD, FORK_FD}

KNOWN_PREFIXES: Final = ("HOLDFAST_FAULT_", "HOLDFAST_TEST_")
"""HOLDFAST_FAULT_<process> of `holdfast up` arms a fault point in one of its processes."""


def unknown_setting(names: Iterable[str]) -> str:
    """A sentence about the first HOLDFAST_* variable that nothing reads, with the nearest known one; else empty."""
    for name in sorted(names):
        if not name.startswith(PREFIX) or name in KNOWN or name.startswith(KNOWN_PREFIXES):
            continue
        if _NATS_SERVER_OF_CELL.fullmatch(name):
            continue
        nearest = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.75)
        hint = f"did you mean {nearest[0]}?" if nearest else "unset it"
        return f"{name}: unknown setting; {hint}"
    return ""
