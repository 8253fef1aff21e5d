"""Which variables of `holdfast up` its child processes inherit. Pure."""

from collections.abc import Mapping
from typing import Final

from holdfast.cli.embedded.model_variables import KEY, KEY_FILE, KIND, URL
from holdfast.process.known_settings import FORK_FD, GO_FD

READY_FD: Final = "HOLDFAST_READY_FD"
"""Variable of a background `holdfast up`: descriptor of the pipe on which it says that the stack is ready."""

NOT_FOR_CHILDREN: Final = (
    "HOLDFAST_FAULT", "HOLDFAST_API_KEY", "HOLDFAST_BASE_URL",
    READY_FD, GO_FD, FORK_FD, KEY, KEY_FILE, URL,
)  # fmt: skip
"""Prefixes of variables that no service inherits. The harnesses get the variables of the model as their settings."""

INHERITED: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that every child inherits."""

SANDBOX_INHERITED: Final = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""Variables with which the sandbox service asks systemd for a control group of its own."""

PROXIES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
"""Variables that name the proxy to the model. Programs write them in capitals or not."""

CLOUDS: Final = {
    "bedrock": ("HOME", "AWS_", "ANTHROPIC_BEDROCK_"),
    "vertex": ("HOME", "CLOUD_ML_REGION", "ANTHROPIC_VERTEX_", "GOOGLE_", "GCLOUD_", "CLOUDSDK_"),
    "foundry": ("ANTHROPIC_FOUNDRY_",),
}
"""Prefixes of the variables from which the SDK's client for a cloud takes address and credentials."""

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


def model_environment(environ: Mapping[str, str], *, is_local: bool) -> dict[str, str]:
    """The variables that the harnesses inherit besides: the proxy, and the settings of the cloud that is chosen.

    `is_local`: the model is on this machine, where no proxy is asked.
    """
    prefixes = CLOUDS.get(environ.get(KIND, ""), ())
    return {
        name: value
        for name, value in environ.items()
        if (name.upper() in PROXIES and not is_local) or (prefixes and name.startswith(prefixes))
    }


def is_cloud(environ: Mapping[str, str]) -> bool:
    """Whether the model is one whose client finds address and credentials by itself."""
    return environ.get(KIND, "") in CLOUDS
