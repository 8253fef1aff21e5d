"""The log files of a stack, merged in the order of time, and followed as they grow."""

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

from holdfast.cli.embedded.log_lines import Entry, parse

_CHUNK_BYTES = 1 << 20
_MAX_LINE_BYTES = 1 << 20
"""Longer lines are read in parts."""

_NOT_OF_A_PROCESS = frozenset({"bao-audit"})
"""Files of the folder that are no log of a process: the audit log of OpenBao."""


def services(folder: Path) -> list[str]:
    """Names of the processes that have a log there."""
    return sorted({path.name.partition(".log")[0] for path in folder.glob("*.log*")} - _NOT_OF_A_PROCESS)


def entries(folder: Path, names: Iterable[str]) -> Iterator[Entry]:
    """All entries of these services in the order of time, older files (`NAME.log.1`) included."""
    return heapq.merge(*(_of_service(folder, name) for name in names), key=lambda entry: entry.at)


def _of_service(folder: Path, name: str) -> Iterator[Entry]:
    last: Entry | None = None
    for path in (folder / f"{name}.log.1", folder / f"{name}.log"):
        for line in _lines(path):
            found = parse(name, line)
            if found is not None:
                if last is not None:
                    yield last
                last = found
            elif last is not None and line.strip():
                last.more.append(line)
    if last is not None:
        yield last


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            while line := file.readline(_MAX_LINE_BYTES):
                yield line.decode(errors="replace").rstrip("\r\n")
    except FileNotFoundError:
        return


class LogFollower:
    """Reads the entries that are appended to the logs. A line without a time belongs to the entry before it."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        """`names`: only these services; empty: all, also those whose log appears later."""
        self._folder = folder
        self._names = frozenset(names)
        self._at = {path: path.stat().st_size for path in self._paths()}
        self._part: dict[Path, bytes] = {}

    def _paths(self) -> list[Path]:
        found = {path.name[:-4]: path for path in self._folder.glob("*.log")}
        return [
            p for name, p in found.items() if name not in _NOT_OF_A_PROCESS and (not self._names or name in self._names)
        ]

    def new(self) -> list[Entry]:
        """The entries that were completed since the last call, in the order of time."""
        found: list[Entry] = []
        for path in self._paths():
            own: list[Entry] = []
            for line in self._new_lines(path):
                entry = parse(path.name[:-4], line)
                if entry is not None:
                    own.append(entry)
                elif own and line.strip():
                    own[-1].more.append(line)
            found += own
        return sorted(found, key=lambda entry: entry.at)

    def _new_lines(self, path: Path) -> list[str]:
        at = self._at.get(path, 0)
        try:
            with path.open("rb") as file:
                if path.stat().st_size < at:  # it was trimmed
                    at = 0
                    self._part.pop(path, None)
                file.seek(at)
                data = file.read(_CHUNK_BYTES)
        except FileNotFoundError:
            return []
        self._at[path] = at + len(data)
        *whole, rest = (self._part.get(path, b"") + data).split(b"\n")
        self._part[path] = rest if len(rest) < _MAX_LINE_BYTES else b""
        return [line.decode(errors="replace").rstrip("\r") for line in whole]
