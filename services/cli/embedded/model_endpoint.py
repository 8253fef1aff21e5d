"""Which model the harnesses call: its address and its key, chosen from options and variables.

HOLDFAST_MODEL_BASE_URL with HOLDFAST_MODEL_API_KEY, and ANTHROPIC_BASE_URL with ANTHROPIC_API_KEY, are two pairs. A key
goes only to the address of its own pair. Programs that use the SDK find Holdfast itself by the second pair, so a pair
that names Holdfast is refused as the address of a model. The only I/O is one name lookup, in `is_loopback_port`.
"""

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from holdfast.cli.embedded.model_variables import KEY, KEY_FILE, URL, VENDOR_KEY, VENDOR_URL
from holdfast.process import api_keys

VENDOR: Final = "https://api.anthropic.com"
"""The vendor's address: that of a pair that has only a key."""

HOW_TO_NAME_A_MODEL: Final = (
    f"Name the model:        {KEY}=sk-ant-... holdfast up   (and {URL}, when it is not {VENDOR})\n"
    "Or play one:           holdfast up --scripted"
)


class BadEndpoint(Exception):
    """The address cannot be that of a model; the text says why and which variables to use."""


class OwnEndpoint(BadEndpoint):
    """The address or the key is one of Holdfast itself."""


class OwnStack(msgspec.Struct, frozen=True):
    """A running or starting stack of this user: the port of its HTTP API on 127.0.0.1, and its API key."""

    port: int
    api_key: str


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The address of the model, and its key or the path of the user's file with the key; at most one is set."""

    base_url: str
    key: str = ""
    key_file: str = ""

    @property
    def lacks_key(self) -> bool:
        """Whether the vendor will refuse all requests because there is no key. Other addresses may need none."""
        return not (self.key or self.key_file) and self.base_url.rstrip("/") == VENDOR


def choose(environ: Mapping[str, str], *, url: str = "", own: Sequence[OwnStack] = ()) -> Endpoint:
    """The endpoint that options and variables name; the vendor's address without a key if they name none.

    `url` is --model-url; its key is HOLDFAST_MODEL_API_KEY. Raises BadEndpoint, and OwnEndpoint for a stack in `own`.
    """
    given = {name: environ.get(name, "").strip() for name in (URL, KEY, KEY_FILE, VENDOR_URL, VENDOR_KEY)}
    if given[KEY] and given[KEY_FILE]:
        raise BadEndpoint(f"{KEY} and {KEY_FILE} are both set: unset one of them.")
    if url or given[URL] or given[KEY] or given[KEY_FILE]:
        address, source = (url, "--model-url") if url else (given[URL] or VENDOR, URL)
        endpoint, key_name = Endpoint(base_url=address, key=given[KEY], key_file=given[KEY_FILE]), KEY
    else:
        address, source = given[VENDOR_URL] or VENDOR, VENDOR_URL
        endpoint, key_name = Endpoint(base_url=address, key=given[VENDOR_KEY]), VENDOR_KEY
    _check(address, source)
    if any(is_loopback_port(address, stack.port) for stack in own):
        raise OwnEndpoint(_own(f"{source} is the address of Holdfast itself ({address}), not of a model", source))
    ours = {stack.api_key for stack in own}
    if endpoint.key and (endpoint.key in ours or (address == VENDOR and endpoint.key.startswith(api_keys.PREFIX))):
        raise OwnEndpoint(_own(f"{key_name} is an API key of Holdfast, not of a model", key_name))
    return endpoint


def _own(cause: str, source: str) -> str:
    lines = [f"{cause}."]
    if source in (VENDOR_URL, VENDOR_KEY):
        lines[0] += f"\n{VENDOR_URL} and {VENDOR_KEY} in this shell are the two lines that holdfast prints for the SDK."
    return "\n".join([*lines, HOW_TO_NAME_A_MODEL])


def _check(address: str, source: str) -> None:
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise BadEndpoint(f"{source} must be an address such as https://host or http://127.0.0.1:11434.")


def is_loopback_port(address: str, port: int) -> bool:
    """Whether `address`, in any spelling, is `port` on a loopback address of this machine."""
    parts = urlsplit(address)
    if (parts.port or {"https": 443}.get(parts.scheme, 80)) != port:
        return False
    host = _host(address)
    if is_local(address) or _is_address(host):
        return is_local(address)
    try:
        found = [str(i[4][0]) for i in socket.getaddrinfo(host, None)]
    except OSError:
        return False
    return any(map(_is_loopback, found))


def is_local(address: str) -> bool:
    """Whether `address` says by itself, without a lookup of its name, that it is on this machine."""
    host = _host(address)
    return host == "localhost" or host.endswith(".localhost") or (_is_address(host) and _is_loopback(host))


def _host(address: str) -> str:
    return (urlsplit(address).hostname or "").rstrip(".").lower()


def _is_loopback(host: str) -> bool:
    parsed = ipaddress.ip_address(host.partition("%")[0])
    return parsed.is_loopback or parsed.is_unspecified or _mapped(parsed)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return inner is not None and (inner.is_loopback or inner.is_unspecified)
