"""A fixed bearer token for one MCP server. Pure."""

import re
from typing import Any, Final

from holdfast.vault.urls import canonical

TYPE: Final = "static_bearer"

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,8192}")
"""Characters that an Authorization header may hold. A line break would start a second header."""


def create(auth: dict[str, Any], *, loopback: bool) -> tuple[dict[str, Any], dict[str, str], str]:
    """See `Kind.create`. The address is stored as given; its canonical form is the unique key."""
    _only(auth, {"type", "mcp_server_url", "token"})
    url = auth.get("mcp_server_url")
    if not isinstance(url, str):
        raise ValueError("mcp_server_url: required, a string")  # noqa: TRY004  every refusal is a ValueError
    try:
        key = canonical(url, loopback=loopback)
    except ValueError as exc:
        raise ValueError(f"mcp_server_url: {exc}") from None
    return {"type": TYPE, "mcp_server_url": url}, {"token": _token(auth.get("token"))}, f"mcp:{key}"


def update(public: dict[str, Any], auth: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str] | None]:
    """See `Kind.update`."""
    if "mcp_server_url" in auth and auth["mcp_server_url"] != public["mcp_server_url"]:
        raise ValueError("mcp_server_url: cannot be changed")
    _only(auth, {"type", "mcp_server_url", "token"})
    token = auth.get("token")
    return public, None if token is None else {"token": _token(token)}


def _token(value: object) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError("token: required, 1 to 8192 visible ASCII characters")
    return value


def _only(auth: dict[str, Any], known: set[str]) -> None:
    if set(auth) - known:
        raise ValueError(f"type: with {TYPE}, only {', '.join(sorted(known))} may stand in auth")
