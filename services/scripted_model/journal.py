"""A record of every request with its times, for tests to read, and gates at which answers are held."""

import asyncio
import json
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

import msgspec

Json = dict[str, Any]

MAX_RECORDS = 20_000
"""Requests kept in memory; the oldest are dropped."""

MAX_BODY_BYTES: Final = 256 * 1024 * 1024
"""Bytes of all bodies kept in memory, as they came; the oldest bodies are dropped, and their records stay."""


class Record(msgspec.Struct, kw_only=True):
    """One request. Times are Unix seconds; 0: not yet. `closed`: the caller closed the connection before the end."""

    number: int
    path: str
    marks: list[str] = []
    scenario: str = ""
    step: int = -1
    attempt: int = 0
    status: int = 0
    error: str = ""
    fault: str = ""
    received: float = 0.0
    first_byte: float = 0.0
    last_byte: float = 0.0
    ended: float = 0.0
    closed: bool = False
    tokens: int = 0
    usage: dict[str, int] = {}
    body: Any = None


class Journal:
    """Records in the order in which the requests came. With `file` each record is appended to it when it has ended."""

    def __init__(self, *, file: Path | None) -> None:
        self._file = file.open("a", encoding="utf-8", buffering=1) if file else None
        self._records: deque[Record] = deque(maxlen=MAX_RECORDS)
        self._bodies: deque[tuple[Record, int]] = deque()
        self._body_bytes = 0
        self._count = 0
        self._changed = asyncio.Event()

    def open(self, path: str, at: float) -> Record:
        record = Record(number=self._count, path=path, received=at)
        self._count += 1
        self._records.append(record)
        return record

    def keep(self, record: Record, body: Any, size: int) -> None:
        """Keep the body of a request, which had `size` bytes."""
        record.body = body
        self._bodies.append((record, size))
        self._body_bytes += size
        while self._body_bytes > MAX_BODY_BYTES and len(self._bodies) > 1:
            oldest, dropped = self._bodies.popleft()
            oldest.body = None
            self._body_bytes -= dropped

    def end(self, record: Record) -> None:
        record.ended = time.time()
        if self._file:
            self._file.write(json.dumps(msgspec.to_builtins(record)) + "\n")
        self._announce()

    def changed(self) -> None:
        """Wake the callers of `wait`: a record was filled in."""
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def select(self, mark: str = "", status: int = 0) -> list[Record]:
        """The requests of the conversations that carry `[play:MARK]`; without a mark, of all conversations.

        `status`: only requests that were answered with it; 0: all.
        """
        return [r for r in self._records if (not mark or mark in r.marks) and status in (0, r.status)]

    async def wait(self, mark: str, *, status: int, count: int, ended: int, deadline: float) -> list[Record]:
        """The requests that `select` finds, as soon as there are `count`, of which `ended` have ended.

        Raises TimeoutError after `deadline` seconds.
        """
        async with asyncio.timeout(deadline):
            while True:
                changed = self._changed
                found = self.select(mark, status)
                if len(found) >= count and sum(1 for r in found if r.ended) >= ended:
                    return found
                await changed.wait()

    def clear(self) -> None:
        self._records.clear()
        self._bodies.clear()
        self._body_bytes = 0


class Gates:
    """Named gates that hold answers. A gate is shut until `release`."""

    def __init__(self) -> None:
        self._reached: dict[str, int] = {}
        self._passes: dict[str, float] = {}
        self._age = 0
        self._changed = asyncio.Event()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def reached(self, name: str) -> int:
        """How many answers have come to the gate so far."""
        return self._reached.get(name, 0)

    async def hold(self, name: str) -> None:
        """Count one answer as come to the gate, and wait until it may pass."""
        self._reached[name] = self.reached(name) + 1
        self._announce()
        age = self._age
        while self._passes.get(name, 0) < 1:
            await self._changed.wait()
            if self._age != age:
                return
        self._passes[name] -= 1

    def release(self, name: str, passes: float) -> None:
        """Let `passes` more answers through; infinity leaves the gate open."""
        self._passes[name] = self._passes.get(name, 0) + passes
        self._announce()

    async def wait(self, name: str, *, count: int, deadline: float) -> int:
        """Return when `count` answers have come to the gate. Raises TimeoutError after `deadline` seconds."""
        async with asyncio.timeout(deadline):
            while self.reached(name) < count:
                await self._changed.wait()
        return self.reached(name)

    def clear(self) -> None:
        """Reset all gates and let the waiting answers through."""
        self._reached.clear()
        self._passes.clear()
        self._age += 1
        self._announce()
