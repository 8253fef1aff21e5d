"""Which variables of `holdfast up` its child processes inherit. Pure."""

from collections.abc import Mapping
from typing import Final

from holdfast.cli.embedded.model_variables import KEY, KEY_FILE, URL
from holdfast.process.known_settings import GO_FD

READY_FD: Final = "HOLDFAST_READY_FD"
"""Variable of a background `holdfast up`: descriptor of the pipe on which it says that the stack is ready."""

NOT_FOR_CHILDREN: Final = (
    "HOLDFAST_FAULT", "HOLDFAST_API_KEY", "HOLDFAST_BASE_URL",
    READY_FD, GO_FD, KEY, KEY_FILE, URL,
)  # fmt: skip
"""Prefixes of variables that no service inherits. The harnesses get the variables of the model as their settings."""

INHERITED: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that every child inherits."""

SANDBOX_INHERITED: Final = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""Variables with which the sandbox service asks systemd for a control group of its own."""

ALLOW_WEAK_LIMITS: Final = "HOLDFAST_ALLOW_WEAK_LIMITS"


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of `holdfast up` that every service inherits: no key of a model, no fault, no client's key."""
    return {
        name: value
        for name, value in environ.items()
        if name in INHERITED
        or name.startswith("OTEL_")
        or (name.startswith("HOLDFAST_") and not name.startswith(NOT_FOR_CHILDREN))
    }
