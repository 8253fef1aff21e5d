"""The gates of all bindings, in a bucket of their own (`gate.py`): it is read as a whole, so it must stay small.

The changes that one process wants of one gate are written together: while one write is under way the next changes
gather. So a flood of tasks costs each replica one write at a time, however many tasks of the kind it works on.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Final, TypeVar

import msgspec

from holdfast.bus.api import Entry, KeyValue
from holdfast.bus.errors import BusError, Conflict, Unavailable
from holdfast.bus.records import decode_record
from holdfast.bus.subjects import gate_key, gate_of
from holdfast.process.retry import keep_watching
from holdfast.session.tasks.gate import Gate

BUCKET: Final = "gates"

MAX_ATTEMPTS: Final = 50
"""Writes of one gate that other replicas may overtake, before the tasks are left for later."""

T = TypeVar("T")
Kind = tuple[str, str]
"""Tenant and kind."""

Change = Callable[[Gate], tuple[Gate, Any]]
"""The gate after the change, and what the caller is told. Pure: it is called again when another replica was faster."""


class _Wanted:
    """What is to be done to one gate."""

    def __init__(self) -> None:
        self.changes: list[tuple[Change, asyncio.Future[Any]]] = []
        self.writer: asyncio.Task[None] | None = None


class Gates:
    """Every method that is awaited raises BusError. `changed` is told of each gate that may have become wider."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self._known: dict[Kind, tuple[Gate, int]] = {}
        """Gate and revision as this process wrote or heard them last."""
        self._wanted: dict[Kind, _Wanted] = {}
        self._limits: dict[Kind, int] = {}
        self.changed: Callable[[Kind], None] = lambda _: None

    def known(self, kind: Kind) -> Gate:
        """The gate as this process knows it: right to some milliseconds while the watch works."""
        return self._known.get(kind, (Gate(), 0))[0]

    def limit(self, kind: Kind) -> int:
        """How many tasks the binding lets in, as this process has read it last; 0: it has not."""
        return self._limits.get(kind, 0)

    def set_limit(self, kind: Kind, limit: int) -> None:
        """The newest version of the binding lets in that many."""
        if self._limits.get(kind) != limit:
            self._limits[kind] = limit
            self.changed(kind)

    def of_tenant(self, tenant: str) -> list[tuple[str, Gate]]:
        """The kinds of the tenant, and their gates as this process knows them."""
        return [(kind, gate) for (of, kind), (gate, _) in self._known.items() if of == tenant]

    def open_count(self) -> int:
        """How many tasks of all bindings have a place, as this process knows."""
        return sum(len(gate.open) for gate, _ in self._known.values())

    async def change(self, kind: Kind, change: Callable[[Gate], tuple[Gate, T]]) -> T:
        """Change the gate by compare-and-set, and return what `change` said of the gate that was changed."""
        wanted = self._wanted.setdefault(kind, _Wanted())
        told: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        wanted.changes.append((change, told))
        if wanted.writer is None:
            wanted.writer = asyncio.create_task(self._write(kind, wanted), name="gate")
        return await told

    async def all(self) -> dict[Kind, Gate]:
        """Every gate as its replica of the bucket has it. One of a newer version is left out."""
        found: dict[Kind, Gate] = {}
        for entry in await self._kv.list(BUCKET):
            self._heard(entry)
            kind = gate_of(entry.key)
            if kind in self._known:
                found[kind] = self._known[kind][0]
        return found

    async def follow(self) -> None:
        """Keep the known gates current, until cancelled."""
        await keep_watching(self._watch, on=BusError, what="gates of bindings")

    async def _watch(self) -> None:
        async with aclosing(self._kv.watch(BUCKET)) as entries:
            async for entry in entries:
                if entry is not None:
                    self._heard(entry)

    def _heard(self, entry: Entry) -> None:
        kind = gate_of(entry.key)
        if entry.value is None:
            self._known.pop(kind, None)
            return
        if entry.revision > self._known.get(kind, (Gate(), 0))[1]:
            try:
                self._know(kind, decode_record(Gate, entry.value), entry.revision)
            except BusError:  # of a newer version: this process lets nobody in
                self._known.pop(kind, None)

    def _know(self, kind: Kind, gate: Gate, revision: int) -> None:
        self._known[kind] = (gate, revision)
        self.changed(kind)

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _write(self, kind: Kind, wanted: _Wanted) -> None:
        """Write what is wanted, and what is wanted meanwhile."""
        while wanted.changes:
            changes, wanted.changes = wanted.changes, []
            try:
                answers = await self._apply(kind, [change for change, _ in changes])
            except Exception as exc:  # noqa: BLE001  it is raised where the change was asked for
                for _, told in changes:
                    if not told.done():
                        told.set_exception(exc)
                continue
            for (_, told), answer in zip(changes, answers, strict=True):
                if not told.done():
                    told.set_result(answer)
        wanted.writer = None
        del self._wanted[kind]

    async def _apply(self, kind: Kind, changes: list[Change]) -> list[Any]:
        """Make the changes in one write; none is written if nothing changes."""
        known = self._known.get(kind)
        for _ in range(MAX_ATTEMPTS):
            is_fresh = known is None
            before, revision = known or await self._read(kind)
            after, answers = before, list[Any]()
            for change in changes:
                after, answer = change(after)
                answers.append(answer)
            if is_fresh and revision > self._known.get(kind, (Gate(), 0))[1]:
                self._know(kind, before, revision)
            if after == before and is_fresh:
                return answers
            known = None
            if after == before:
                continue  # what this process knows may be old: nobody is turned away by it alone
            try:
                revision = await self._store(kind, after, revision)
            except Conflict:
                continue
            self._know(kind, after, revision)
            return answers
        raise Unavailable("other replicas change the gate of this kind all the time")

    async def _read(self, kind: Kind) -> tuple[Gate, int]:
        """The gate as the leader has it."""
        entry = await self._kv.get(BUCKET, gate_key(*kind))
        if entry is None or entry.value is None:
            return Gate(), 0
        return decode_record(Gate, entry.value), entry.revision

    async def _store(self, kind: Kind, gate: Gate, revision: int) -> int:
        raw = msgspec.json.encode(gate)
        if revision:
            return await self._kv.update(BUCKET, gate_key(*kind), raw, revision)
        return await self._kv.create(BUCKET, gate_key(*kind), raw)
