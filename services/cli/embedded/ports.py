"""Ports of loopback for the processes of the stack, which keep theirs from one start to the next."""

import secrets
import socket
from pathlib import Path
from typing import Final

_OUTGOING: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST: Final = 10_000
_TRIES: Final = 200


def free_port() -> int:
    """A port that nobody uses now, and that no outgoing connection will be given while its process restarts."""
    below = _outgoing()
    for _ in range(_TRIES if below > _FIRST else 0):
        port = _FIRST + secrets.randbelow(below - _FIRST)
        if is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _outgoing() -> int:
    """The first port that the system gives to outgoing connections (Linux, `ip(7)`); 0: not known."""
    try:
        return int(_OUTGOING.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0
