"""The socket of the engine: whether somebody answers there."""

import errno
import socket
from typing import Final

from holdfast.sandbox.drivers.docker.facts import Door

LOOK_TIMEOUT_S: Final = 2.0
"""Seconds for a connection."""


def look(path: str) -> Door:
    """Try a connection. Blocks."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(LOOK_TIMEOUT_S)
        try:
            client.connect(path)
        except TimeoutError:
            return Door(path, errno.ETIMEDOUT)
        except OSError as exc:
            return Door(path, exc.errno or errno.EIO)
    return Door(path)
