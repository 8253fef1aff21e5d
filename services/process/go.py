"""A service that was started ahead of what it needs waits here, with all its modules loaded, until it is told to go on.

`holdfast up` starts all processes at once, because loading modules takes most of a start. A service that needs the
streams of NATS gets a pipe, and one byte on it when they are there.
"""

import os
import sys
from typing import Final

from holdfast.process.known_settings import GO_FD

GO: Final = b"1"


def wait_for_go() -> None:
    """Return when this process may go on. Ends it with exit code 0 if the process that would say so has ended."""
    number = os.environ.pop(GO_FD, "")
    if not number:
        return
    said = os.read(int(number), len(GO))
    os.close(int(number))
    if said != GO:
        sys.exit(0)
