"""The entry point of the agent inside the sandbox."""

from __future__ import annotations

import os

GREETING = b"\0\0\0\x0b" + b'{"hello":1}'
"""The first frame, encoded by hand: it is sent before anything is imported."""


def main() -> None:
    """Serve until stdin ends. Raises SystemExit outside of a sandbox."""
    if os.getpid() != 1:
        # A restart of the shell kills all processes in /proc: outside of a sandbox those of the host.
        raise SystemExit("this program runs in a sandbox only")
    # Discard error output: the service would take it for that of bubblewrap.
    os.dup2(os.open("/dev/null", os.O_RDWR), 2)
    os.write(1, GREETING)
    # Imported after the greeting: meanwhile the service prepares the first call.
    from .files import Root  # noqa: PLC0415  as above
    from .loop import Loop  # noqa: PLC0415  as above
    from .processes import be_first_process  # noqa: PLC0415  as above

    be_first_process()
    Loop(Root()).run()
