"""The address of an endpoint: which ones are accepted. What its name resolves to is checked at each request. Pure.

The address is read by `yarl` here and in `sender.py`, so that both see the same host.
"""

import ipaddress
from collections.abc import Collection
from typing import Final

from yarl import URL

from holdfast.process.public_addresses import refusal
from holdfast.session.http.errors import invalid

MAX_URL_CHARS: Final = 2048


def check_url(text: str, hosts: Collection[str]) -> None:
    """Raise ApiError 400 unless the text is an https address on port 443 of a host that may be public.

    `hosts` are those that the operator has named: they may have any address, any port, and http.
    """
    if len(text) > MAX_URL_CHARS:
        raise invalid(f"url: must have at most {MAX_URL_CHARS} characters")
    if not text.isascii() or not text.isprintable() or any(char in text for char in " \\#"):
        raise invalid("url: must be ASCII without spaces, backslashes and fragment")
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError:
        raise invalid("url: must be an address such as https://example.com/hooks") from None
    if url.scheme not in ("https", "http") or not host or not port:
        raise invalid("url: must be an address such as https://example.com/hooks")
    if url.user is not None or url.password is not None:
        raise invalid("url: must have no user and no password")
    if host.lower() in hosts:
        return
    if url.scheme != "https":
        raise invalid("url: must be https; the operator may allow others with HOLDFAST_WEBHOOK_HOSTS")
    if port != 443:
        raise invalid("url: must be on port 443; the operator may allow others with HOLDFAST_WEBHOOK_HOSTS")
    if not _may_be_public(host):
        raise invalid("url: must name a public host; the operator may allow others with HOLDFAST_WEBHOOK_HOSTS")


def is_named(url: str, hosts: Collection[str]) -> bool:
    """Whether the operator has named the host of an address that was accepted."""
    return (URL(url).host or "").lower() in hosts


def _may_be_public(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        last = host.rstrip(".").rpartition(".")
        # 127.1, 2130706433 and 0x7f.1 are other spellings of IP addresses, and a name without a dot is of this network
        return bool(last[0]) and not last[2].isdigit() and not last[2].lower().startswith("0x")
    return not refusal(host)
