"""Token deltas to whoever watches: best effort, coalesced, stored nowhere."""

import asyncio

import msgspec

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Delta
from holdfast.bus.ids import Key, new_id
from holdfast.harness.models import BlockStart, TextDelta
from holdfast.process.faults import point

PACE = 0.015
"""Seconds between two messages at the least. The first delta goes out at once, and one that is held back goes out after
this time even if the model then pauses."""

_KINDS = {"text": "agent.message", "thinking": "agent.thinking", "redacted_thinking": "agent.thinking"}


class Deltas:
    """The pieces of one answer: gives its blocks their event ids, remembers the text so far, publishes it."""

    def __init__(self, bus: Bus, key: Key, *, request: str, quiet: bool = False) -> None:
        self._bus = bus
        self._subject = subjects.delta(key)
        self._request = request
        self._quiet = quiet
        self._pending: list[Delta] = []
        self._last = -PACE
        self._timer: asyncio.TimerHandle | None = None
        """Set while something is held back."""
        self._late: asyncio.Task[None] | None = None
        """The flush that the timer has started."""
        self._sending = asyncio.Lock()
        self.ids: dict[int, str] = {}
        """Event ids announced for the blocks of the answer, by index."""
        self._texts: dict[int, list[str]] = {}
        self._lengths: dict[int, int] = {}

    async def add(self, piece: BlockStart | TextDelta) -> None:
        """Take the next piece; publishes now, or with one of the next pieces."""
        if isinstance(piece, BlockStart):
            kind = _KINDS.get(piece.type)
            if kind is None:
                return
            self.ids[piece.index] = new_id("sevt")
            self._pending.append(Delta(self.ids[piece.index], kind, start=True, request=self._request))
            if piece.type == "text":
                return  # goes out with its first text, so that an empty block is never announced alone
        else:
            before = self._lengths.get(piece.index, 0)
            self._lengths[piece.index] = before + len(piece.text)
            self._texts.setdefault(piece.index, []).append(piece.text)
            if (event := self.ids.get(piece.index)) is not None and piece.text:
                self._pending.append(Delta(event, "agent.message", 0, piece.text, at=before))
            point("harness.in_stream")
        loop = asyncio.get_running_loop()
        if loop.time() - self._last >= PACE:
            await self.flush()
        elif self._timer is None:
            self._timer = loop.call_at(self._last + PACE, self._due)

    def _due(self) -> None:
        self._timer = None
        self._late = asyncio.create_task(self.flush(), name="deltas-late")

    @property
    def texts(self) -> dict[int, str]:
        """What was shown of each text block, by index."""
        return {index: "".join(parts) for index, parts in self._texts.items()}

    async def flush(self) -> None:
        """Publish what is held back, in order."""
        self._last = asyncio.get_running_loop().time()
        self._stop_timer()
        async with self._sending:
            pending, self._pending = self._pending, []
            if pending and not self._quiet:
                await self._bus.core.publish(self._subject, msgspec.json.encode(pending))

    async def close(self) -> None:
        """Publish nothing any more; what is held back is dropped."""
        self._stop_timer()
        if self._late is not None:
            self._late.cancel()
            await asyncio.gather(self._late, return_exceptions=True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
