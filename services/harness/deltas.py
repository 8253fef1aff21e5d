"""Token deltas to whoever watches: best effort, coalesced, stored nowhere."""

import asyncio

import msgspec

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Delta
from holdfast.bus.ids import Key, new_id
from holdfast.harness.models import Begun, Text
from holdfast.process.faults import point

PACE = 0.015
"""Seconds between two messages at the least; the first delta goes out at once."""

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
        self.ids: dict[int, str] = {}
        """Event ids announced for the blocks of the answer, by index."""
        self._texts: dict[int, list[str]] = {}
        self._lengths: dict[int, int] = {}

    async def add(self, piece: Begun | Text) -> None:
        """Take the next piece; publishes now, or with one of the next pieces."""
        if isinstance(piece, Begun):
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
        now = asyncio.get_running_loop().time()
        if now - self._last >= PACE:
            self._last = now
            await self.flush()

    @property
    def texts(self) -> dict[int, str]:
        """What was shown of each text block, by index."""
        return {index: "".join(parts) for index, parts in self._texts.items()}

    async def flush(self) -> None:
        """Publish what is held back."""
        pending, self._pending = self._pending, []
        if pending and not self._quiet:
            await self._bus.publish(self._subject, msgspec.json.encode(pending))
