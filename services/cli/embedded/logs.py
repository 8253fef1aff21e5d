"""`holdfast logs`: prints the logs of a stack."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from holdfast.cli.client.target import NoStack
from holdfast.cli.embedded import log_files, log_lines
from holdfast.cli.embedded.layout import data_folder
from holdfast.cli.embedded.local_stack import local_stack
from holdfast.cli.embedded.log_lines import Entry
from holdfast.cli.exit_codes import FAILED, INTERRUPTED, NO_STACK
from holdfast.cli.failure import tell

_FOLLOW_INTERVAL_S: Final = 0.25
"""Seconds between two checks for new lines."""


def run(
    services: Sequence[str],
    data: Path | None,
    *,
    follow: bool,
    lines: int | None,
    since: str | None,
    as_json: bool,
) -> int:
    """Print the logs, and return the exit code."""
    try:
        first = log_lines.since(since, datetime.now(UTC)) if since else None
        folder = _folder(data)
        known = log_files.services(folder)
    except (NoStack, ValueError, OSError) as exc:
        tell("logs", str(exc))
        return NO_STACK if isinstance(exc, NoStack) else FAILED
    unknown = [name for name in services if name not in known]
    if unknown:
        tell("logs", f"no log of {', '.join(unknown)}. There are: {', '.join(known)}")
        return NO_STACK
    names = list(services) or known
    show = _as_json if as_json else _for_people(max(map(len, names)))
    try:
        follower = log_files.LogFollower(folder, services) if follow else None
        stored = (e for e in log_files.entries(folder, names) if first is None or e.at >= first)
        _print(map(show, stored if lines is None else deque(stored, maxlen=lines)))
        while follower is not None:
            _print(map(show, follower.new()))
            time.sleep(_FOLLOW_INTERVAL_S)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; nothing more is written, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as exc:
        tell("logs", str(exc))
        return FAILED
    return 0


def _folder(data: Path | None) -> Path:
    """The folder of the logs: of the running stack, else of the data folder. Raises NoStack."""
    try:
        return Path(local_stack(data).logs)
    except NoStack as exc:
        folder = data_folder(data).absolute() / "logs"
        if (data is None and "HOLDFAST_BASE_URL" in os.environ) or not log_files.services(folder):
            raise NoStack(f"{exc}\nThere are no logs in {folder}.") from None
        return folder


def _as_json(entry: Entry) -> str:
    return entry.as_json().decode()


def _for_people(width: int) -> Callable[[Entry], str]:
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return lambda entry: log_lines.shown(entry, width=width, colours=colours)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
