"""Reads the end of a log, and finds the cause of a failure in it."""

import os
import re
from pathlib import Path
from typing import Final

from holdfast.cli.embedded.log_lines import parse
from holdfast.cli.sanitize import clean_line

_CALM_LEVELS: Final = ("debug", "info", "trace")
_REFUSED: Final = re.compile(r"^(cannot start): \w+: ")
"""A refusal of settings with the class of the exception, which is removed."""


def last_lines(log: Path, count: int = 5, *, since: int = 0, most: int = 16_000) -> list[str]:
    """The last `count` lines of the last `most` bytes of a log, none from before offset `since`; [] when unreadable."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = since if since <= size else 0  # the log was trimmed in between
            file.seek(max(start, size - most))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def plain(service: str, line: str) -> str:
    """A line of the log of `service` without time and level: what happened, and its cause."""
    entry = parse(service, line)
    if entry is None:
        return clean_line(line)
    cause = " ".join(str(entry.fields.get("cause") or entry.fields.get("error") or "").split())
    text = f"{entry.text}: {cause}" if cause else entry.text
    return clean_line(_REFUSED.sub("", text).removeprefix("no sandbox can be had: "))


def cause(service: str, log: Path, since: int = 0) -> str:
    """The last warning or error after offset `since`, else the last line; empty if there is none."""
    lines = [line for line in last_lines(log, 40, since=since) if line.strip()]
    for line in reversed(lines):
        entry = parse(service, line)
        if entry is None and not line[0].isspace():
            return plain(service, line)
        if entry is not None and entry.level not in _CALM_LEVELS:
            return plain(service, line)
    return plain(service, lines[-1]) if lines else ""
