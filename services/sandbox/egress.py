"""The network for which an environment asks. Pure."""

from typing import Any, Final, Literal

import msgspec

PACKAGE_HOSTS: Final = (
    "deb.debian.org", "security.debian.org", "archive.ubuntu.com", "security.ubuntu.com", "ports.ubuntu.com",  # apt
    "index.crates.io", "static.crates.io", "crates.io",  # cargo
    "rubygems.org", "index.rubygems.org",  # gem
    "proxy.golang.org", "sum.golang.org",  # go
    "registry.npmjs.org",  # npm
    "pypi.org", "files.pythonhosted.org",  # pip
)  # fmt: skip
"""What `allow_package_managers` opens: the default indexes of the managers, and where these keep the packages."""


class Egress(msgspec.Struct, frozen=True):
    """The network that a hand may reach. `hosts` are host names or `*.` and a domain, with `limited` only."""

    networking: Literal["none", "limited", "unrestricted"] = "none"
    hosts: tuple[str, ...] = ()


NO_EGRESS: Final = Egress()


def egress_of(environment: dict[str, Any]) -> Egress:
    """The network for which the configuration of an environment asks.

    `allow_mcp_servers` opens nothing: no agent has MCP servers yet.
    """
    networking: dict[str, Any] = environment.get("networking") or {}
    if networking.get("type") == "unrestricted":
        return Egress("unrestricted")
    if networking.get("type") != "limited":
        return NO_EGRESS
    hosts: list[str] = [*(networking.get("allowed_hosts") or ())]
    if networking.get("allow_package_managers"):
        hosts += PACKAGE_HOSTS
    return Egress("limited", tuple(hosts))
