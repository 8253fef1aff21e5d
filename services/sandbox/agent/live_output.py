"""Sends the output of a command while it runs: for people who watch, not for the model.

What is sent is a prefix of the output in the result, in pieces and at a slow pace. A line is sent when it has ended,
because a carriage return may still change it. A command that ends within SEND_INTERVAL_S sends nothing, so that the
usual short command costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .channel import Call
    from .poller import Poller, Timer

SEND_INTERVAL_S: Final = 0.1
"""Seconds before the first piece and between two pieces."""

PIECE_CHARS: Final = 16_000
"""Most characters of one piece."""


class LiveOutput:
    """Sends the output of one command. While the service does not read, it waits with the next piece."""

    def __init__(self, poller: Poller, call: Call) -> None:
        self._poller, self._call = poller, call
        self._unsent = ""
        self._timer: Timer | None = None
        self._ended = False

    def add(self, text: str) -> None:
        """Add text that is safe to show and that the result begins with. `Output` bounds how much it is."""
        if text and not self._ended:
            self._unsent += text
            if self._timer is None:
                self._timer = self._poller.after(SEND_INTERVAL_S, self._send)

    def end(self) -> None:
        """Send nothing more."""
        self._ended = True
        self._poller.drop(self._timer)

    def _send(self) -> None:
        self._timer = None
        if self._call.congested:
            self._timer = self._poller.after(SEND_INTERVAL_S, self._send)
        elif self._unsent:
            self._call.output(self._unsent[:PIECE_CHARS])
            self._unsent = self._unsent[PIECE_CHARS:]
            self._timer = self._poller.after(SEND_INTERVAL_S, self._send)
