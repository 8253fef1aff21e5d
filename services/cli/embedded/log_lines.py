"""One line of a log: parsed from the format of its process, and formatted for a person. Pure.

The services and the supervisor write JSON objects. nats-server and OpenBao have formats of their own. A line without a
time, such as a line of a traceback, belongs to the entry before it.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from holdfast.cli.sanitize import clean, clean_line

_NATS: Final = re.compile(r"\[\d+\] (\d{4})/(\d\d)/(\d\d) (\d\d:\d\d:\d\d\.\d+) \[(\w{3})\] (.*)")
_NATS_LEVELS: Final = {
    "INF": "info",
    "WRN": "warning",
    "ERR": "error",
    "FTL": "critical",
    "DBG": "debug",
    "TRC": "debug",
}
_BAO: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|[+-]\d\d:?\d\d)) \[(\w+)\]\s+(.*)")
_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

_SHORT_LEVELS: Final = {"warning": "warn", "critical": "fatal"}
_STYLES: Final = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m", "debug": "\x1b[2m"}
_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"

_CAUSE_FIELDS: Final = ("cause", "error")
"""Fields with the cause. The first that is set is shown at the end of the sentence."""

_HIDDEN_FIELDS: Final = frozenset({"event", "service", "level", "timestamp", "exception", "trace_id", "span_id"})


class Entry(msgspec.Struct):
    """One entry of a log. `text` is the event, `fields` what else was logged, `more` further lines as they are."""

    at: datetime
    service: str
    level: str
    text: str
    fields: dict[str, Any] = {}
    more: list[str] = []

    def as_json(self) -> bytes:
        """The entry as one JSON object."""
        known = {"timestamp": self.at, "service": self.service, "level": self.level, "event": self.text}
        more = {"more": "\n".join(self.more)} if self.more else {}
        return msgspec.json.encode({**known, **self.fields, **more})


def parse(service: str, line: str) -> Entry | None:
    """The entry that this line of the log of `service` begins; None when it has no time."""
    if line.startswith("{"):
        return _json(service, line)
    if found := _NATS.match(line):
        year, month, day, clock, level, text = found.groups()
        # nats-server logs in the time of the machine.
        at = datetime.fromisoformat(f"{year}-{month}-{day}T{clock}").astimezone(UTC)
        return Entry(at, service, _NATS_LEVELS.get(level, level.lower()), text)
    if found := _BAO.match(line):
        at = _time(found[1])
        level = {"WARN": "warning"}.get(found[2], found[2].lower())
        return Entry(at, service, level, found[3]) if at else None
    return None


def _json(service: str, line: str) -> Entry | None:
    try:
        raw = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    at = _time(str(raw.get("timestamp", "")))
    if at is None:
        return None
    fields = {key: value for key, value in raw.items() if key not in ("event", "service", "level", "timestamp")}
    return Entry(at, service, str(raw.get("level", "info")), str(raw.get("event", "")), fields)


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.astimezone(UTC)


def since(text: str, now: datetime) -> datetime:
    """The time that `--since` means: `now` minus a duration, or a date and time (local if it has no time zone).

    Raises ValueError with a sentence for the user.
    """
    if found := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    at = _time(text)
    if at is None:
        raise ValueError(f"--since must be such as 90s, 10m, 2h, 3d or 2026-11-27T14:30, not {text!r}")
    return at


def shown(entry: Entry, *, width: int, colours: bool) -> str:
    """The entry for a person: local time, service (in `width` columns), level, event, cause, fields."""

    def styled(style: str, text: str) -> str:
        return f"{style}{text}{_RESET}" if colours and style and text else text

    level = _SHORT_LEVELS.get(entry.level, entry.level)
    head = f"{entry.at.astimezone():%m-%d %H:%M:%S}.{entry.at.microsecond // 1000:03d}"
    event = clean_line(entry.text)
    cause = next((str(entry.fields[name]) for name in _CAUSE_FIELDS if entry.fields.get(name)), "")
    if cause:
        event = f"{event}: {clean_line(' '.join(cause.split()))}"
    rest = _fields(entry.fields, lambda key: key not in _HIDDEN_FIELDS and key not in _CAUSE_FIELDS)
    parts = [
        styled(_DIM, head),
        clean_line(entry.service).ljust(width),
        styled(_STYLES.get(entry.level, ""), clean_line(level).ljust(5)),
        event,
    ]
    first = "  ".join([*parts, styled(_DIM, rest)] if rest else parts)
    below = [*str(entry.fields.get("exception", "")).splitlines(), *entry.more]
    return "\n".join([first, *(f"    {clean(line).expandtabs()}" for line in below)])


def _fields(fields: dict[str, Any], wanted: Callable[[str], bool]) -> str:
    return " ".join(f"{clean_line(key)}={_value(value)}" for key, value in fields.items() if wanted(key))


def _value(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = clean_line(text)
    return f'"{text}"' if not text or (isinstance(value, str) and " " in text) else text
