"""The `Host` header of requests: only names that are known to lead to this service are served. Pure.

A web page whose name is made to lead to a loopback address (DNS rebinding) could otherwise talk to a service that only
listens there, and read its answers. An attack needs a name, so an IP address is always served, and so is a request
without the header, which no browser sends.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from holdfast.session.http.errors import ApiError, host_not_served

ANY_HOST: Final = "*"
"""In the list of names: every name is served."""


class HostCheck:
    """Serves `localhost`, IP addresses and `names`; a name in it may be empty."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {name.lower().rstrip(".") for name in names if name} | {"localhost"}

    def refusal(self, hosts: Iterable[str]) -> ApiError | None:
        """The answer to a request with these values of `Host`; None if it is served."""
        if ANY_HOST in self._names:
            return None
        return next((host_not_served(_name(host)) for host in hosts if not self._serves(_name(host))), None)

    def _serves(self, name: str) -> bool:
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def _name(host: str) -> str:
    """The name or address in a value of `Host`, without its port."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")
