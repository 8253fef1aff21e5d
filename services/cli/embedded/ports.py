"""Free ports on 127.0.0.1 for the processes of a stack."""

import errno
import os
import secrets
import shutil
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Final

_OUTGOING_RANGE_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_UNPRIVILEGED_START_FILE: Final = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_FIRST_PORT: Final = 10_000
_MAX_TRIES: Final = 200


def free_port(but: Collection[int] = ()) -> int:
    """A free port that is not in `but`, outside of the range for outgoing connections if there is one.

    An outgoing connection could take it while its process restarts.
    """
    below = _outgoing()
    for _ in range(_MAX_TRIES if below > _FIRST_PORT else 0):
        port = _FIRST_PORT + secrets.randbelow(below - _FIRST_PORT)
        if port not in but and is_free(port):
            return port
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in but:
            return port


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    return not _bind(port)


def why_not(port: int) -> str:
    """Why this user cannot listen on that port of 127.0.0.1 now, with the way out; empty when it can."""
    error = _bind(port)
    if not error:
        return ""
    if error in (errno.EACCES, errno.EPERM):
        return (
            f"port {port} needs root: this user may listen on ports from {_unprivileged()} on.\n"
            "Choose another with --port N, or let holdfast choose with --port 0."
        )
    if error == errno.EADDRINUSE:
        return (
            f"port {port} of 127.0.0.1 is in use by another process.\n"
            "Choose another with --port N, or let holdfast choose with --port 0."
            + (f"\nWho has it: ss -ltnp 'sport = :{port}'" if shutil.which("ss") else "")
        )
    return f"cannot listen on port {port} of 127.0.0.1: {os.strerror(error)}."


def _bind(port: int) -> int:
    """The errno of an attempt to listen there; 0 if it succeeds."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            return exc.errno or errno.EINVAL
    return 0


def _unprivileged() -> int:
    """The first port on which every user may listen (Linux, `ip(7)`)."""
    try:
        return int(_UNPRIVILEGED_START_FILE.read_text())
    except (OSError, ValueError):
        return 1024


def _outgoing() -> int:
    """The first port that the system gives to outgoing connections (Linux, `ip(7)`); 0: not known."""
    try:
        return int(_OUTGOING_RANGE_FILE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0
