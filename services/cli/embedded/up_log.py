"""The messages of `holdfast up`: printed, and appended to `logs/up.log`, where `holdfast logs` finds them."""

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from holdfast.cli.embedded import detach


class UpLog:
    """Prints and logs messages. A full disk or a closed terminal never ends the supervisor."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._has_terminal = True

    def say(self, line: str, level: str = "info") -> None:
        """Print the line, and append it to the log with the time."""
        self.show(line)
        self.log(line, level)

    def log(self, line: str, level: str = "info") -> None:
        """Append the line to the log with the time, and print nothing."""
        entry = {"event": line, "service": "up", "level": level, "timestamp": datetime.now(UTC).isoformat()}
        with contextlib.suppress(OSError), self._log.open("ab") as file:
            file.write(msgspec.json.encode(entry) + b"\n")

    def warn(self, line: str) -> None:
        self.say(line, "warning")

    def show(self, text: str) -> None:
        """Print only: text that must not be kept, such as the API key."""
        if self._has_terminal:
            with contextlib.suppress(OSError):
                print(text, flush=True)

    def detach(self) -> None:
        """Stop printing if this process runs in the background; see `detach.release`."""
        if detach.in_background():
            detach.release(self._log)
            self._has_terminal = False
