"""The canonical form of the address of an MCP server. Pure.

A credential is for a server if both addresses have the same canonical form, with path and query. A common prefix or the
same host is not enough. A spelling that two programs may read as two hosts or two paths is refused.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

MAX_URL_CHARS: Final = 2048

_HOST: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_PORTS: Final = {"https": 443, "http": 80}
_ENCODED_DOT_OR_SLASH: Final = re.compile(r"%(2e|2f|5c|00)", re.IGNORECASE)


def canonical(url: str, *, loopback: bool = False) -> str:
    """The address with scheme and host in lower case, IDNA, no default port and no trailing dot or slash.

    https only; with `loopback` also http to this machine. Raises ValueError with the rule, never with the address.
    """
    if len(url) > MAX_URL_CHARS:
        raise ValueError(f"must have at most {MAX_URL_CHARS} characters")
    if any(ord(c) <= 0x20 or 0x7F <= ord(c) <= 0x9F or c == "\\" for c in url):
        raise ValueError("must not contain spaces, control characters or backslashes")
    if "#" in url:
        raise ValueError("must not have a fragment")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("must be a valid address") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not url[len(scheme) :].startswith("://"):
        raise ValueError("must be an https address")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user or password")
    host = _host(parts.hostname or "")
    if scheme == "http" and not (loopback and _is_loopback(host)):
        raise ValueError("must be an https address")
    path = _path(parts.path)
    at = f"[{host}]" if ":" in host else host
    tail = f"?{parts.query}" if parts.query else ""
    return f"{scheme}://{at}{'' if port in (None, _PORTS[scheme]) else f':{port}'}{path}{tail}"


def _host(name: str) -> str:
    if not name:
        raise ValueError("must name a host")
    try:
        return ipaddress.ip_address(name).compressed
    except ValueError:
        pass
    try:
        host = name.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        raise ValueError("must name a valid host") from None
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise ValueError("must name a valid host")
    if host.rpartition(".")[2].isdigit() or host.rpartition(".")[2].startswith("0x"):
        raise ValueError("must spell an IP address in the usual way")  # 127.1, 2130706433, 0x7f.1: read differently
    return host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _path(path: str) -> str:
    if "//" in path or _ENCODED_DOT_OR_SLASH.search(path):
        raise ValueError("must not contain // or an encoded dot or slash in its path")
    if any(segment in (".", "..") for segment in path.split("/")):
        raise ValueError("must not contain . or .. in its path")
    return path.rstrip("/")
