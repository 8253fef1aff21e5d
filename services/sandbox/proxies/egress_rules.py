"""Which hosts and ports a sandbox may reach through the egress proxy, decided by name, before any lookup. Pure.

A name is not looked up before it is allowed: a lookup alone would carry what stands in the name to a server outside.
The addresses that a name has are checked afterwards, in `process/outbound.py`.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import Final

import msgspec

from holdfast.sandbox.egress import Egress

HTTP_PORT: Final = 80
TLS_PORT: Final = 443

MAIL_PORT: Final = 25
"""The one port that an unrestricted sandbox may not reach: mail that is sent from there is nearly always spam."""

HOST_CHARS: Final = 253
"""Longest name of a host (RFC 1035)."""

_LABEL: Final = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label by which resolvers take the whole name for an IPv4 address: 127.1, 2130706433, 0x7f.1."""


class Refused(Exception):
    """The request is not carried out. `code` is one of few, for metrics; the text is for the model."""

    def __init__(self, code: str, text: str, status: int = 403) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


class Target(msgspec.Struct, frozen=True):
    """A host and a port to connect to. `host` is as `host_of` returns it."""

    host: str
    port: int

    def __str__(self) -> str:
        """As in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address and not a name."""
        return is_address(self.host)


def is_address(host: str) -> bool:
    """Whether the text is an IP address in its usual spelling."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def host_of(text: str) -> str:
    """The one spelling of a host: lower case, without final dot and brackets; an IP address in its usual form.

    Raises Refused for all that is neither a name in ASCII nor an address in its usual form.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text
    if is_address(bare) and "%" not in bare:  # the zone of an IPv6 address would name an interface of the host
        return str(ipaddress.ip_address(bare))
    name = text.lower().removesuffix(".")
    if len(name) > HOST_CHARS or not _NAME.fullmatch(name):
        raise Refused("malformed", "the host must be a name in ASCII (xn--… for others) or an IP address", 400)
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise Refused("malformed", "an IP address must be spelled as four decimal numbers, or as IPv6 in brackets", 400)
    return name


def target_of(authority: str, default_port: int | None = None) -> Target:
    """The target in `host:port`; without a port that is `default_port`, if there is one. Raises Refused."""
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = authority, ""
    if port == "" and default_port is not None:
        return Target(host_of(host), default_port)
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise Refused("malformed", "the port must be a number from 1 to 65535", 400)
    return Target(host_of(host), int(port))


def matches(host: str, patterns: Collection[str]) -> bool:
    """Whether the host is one of the patterns: a name, or `*.` and a domain, for names below it at any depth."""
    for pattern in patterns:
        wanted = pattern.lower().removesuffix(".")
        if wanted.startswith("*."):
            if host.endswith(wanted[1:]) and len(host) > len(wanted[1:]) and not is_address(host):
                return True
        elif host == wanted:
            return True
    return False


def check(egress: Egress, target: Target, *, tunnel: bool, exempt: Collection[str]) -> None:
    """Raise Refused unless the sandbox may reach the target.

    `tunnel`: by CONNECT; else by a plain HTTP request. `exempt` are hosts that the operator has named, in lower case:
    they may have any port. The environment has to allow them all the same.
    """
    if egress.networking == "none":
        raise Refused("no_network", "sandboxes of this system have no network: its operator has switched it off")
    if egress.networking == "limited" and not matches(target.host, egress.hosts):
        raise Refused("host", f"{target.host} is not among the hosts that the environment of this session allows")
    if target.host in exempt:
        return
    if egress.networking == "unrestricted":
        if target.port == MAIL_PORT:
            raise Refused("port", f"port {MAIL_PORT} cannot be reached from a sandbox")
    elif target.port != (TLS_PORT if tunnel else HTTP_PORT):
        raise Refused("port", f"only https on port {TLS_PORT} and http on port {HTTP_PORT} can be reached")


def must_name_itself(egress: Egress) -> bool:
    """Whether a tunnel has to be TLS that asks for the host of its CONNECT request.

    Where every public host may be reached there is nothing to get around.
    """
    return egress.networking != "unrestricted"
