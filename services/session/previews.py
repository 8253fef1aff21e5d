"""Which token deltas one connection is shown, and how they are spelled. Pure.

A preview is a prefix of the event to come: it begins with `event_start`, has no holes, and ends at the latest with the
event itself or with the end of its model request. A connection that did not see the start of a preview gets none of it.
"""

from collections import deque
from collections.abc import Collection, Iterable
from typing import Any, Final

from services.bus import events as ev
from services.bus.commands import Delta
from services.bus.head import Head

KINDS: Final = ("agent.message", "agent.thinking")
"""Types of events that have previews."""

REMEMBERED: Final = 256
"""Ended previews remembered, against a late delta of one of them."""


class Previews:
    """The previews of one connection that asked for `kinds`."""

    def __init__(self, kinds: Collection[str]) -> None:
        self._kinds = frozenset(kinds)
        self._open: dict[str, str] = {}
        """Thread of each preview that has begun, by event id."""
        self._ended: deque[str] = deque(maxlen=REMEMBERED)
        self._missed: set[str] = set()
        """Threads whose present model request had begun before we listened."""

    def begin(self, head: Head) -> None:
        """The connection listens since that head: what was lost before it, or is half over there, gets no deltas."""
        self.cut()
        self._missed = {name for name, thread in head.threads.items() if thread.request}

    def take(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Those that this connection is shown, in order."""
        out: list[Delta] = []
        for delta in deltas:
            if delta.kind not in self._kinds or delta.event in self._ended or delta.thread in self._missed:
                continue
            if delta.start:
                self._open[delta.event] = delta.thread
                out.append(delta)
            elif delta.event in self._open and delta.kind == "agent.message":
                out.append(delta)
        return out

    def end(self, event: ev.Event) -> None:
        """An event of the log was shown: what it closes gets no more deltas."""
        match event:
            case ev.AgentMessage() | ev.AgentThinking():
                self._close(event.id)
            case ev.ModelRequestStart() | ev.ModelRequestEnd():
                self._missed.discard(event.thread)
                for event_id in [e for e, thread in self._open.items() if thread == event.thread]:
                    self._close(event_id)
            case _:
                pass

    def cut(self) -> None:
        """Deltas were lost: whatever has begun gets no more, since it would have a hole."""
        for event_id in list(self._open):
            self._close(event_id)

    def _close(self, event_id: str) -> None:
        self._open.pop(event_id, None)
        self._ended.append(event_id)


def merged(deltas: Iterable[Delta]) -> list[Delta]:
    """Neighbouring pieces of one block as one: a slow reader gets fewer, longer frames."""
    out: list[Delta] = []
    for delta in deltas:
        last = out[-1] if out else None
        joins = last and not delta.start and not last.start and (last.event, last.index) == (delta.event, delta.index)
        if last and joins:
            out[-1] = Delta(last.event, last.kind, last.index, last.text + delta.text, thread=last.thread)
        else:
            out.append(delta)
    return out


def preview_object(delta: Delta) -> dict[str, Any]:
    """The wire object of a delta (C.7)."""
    if delta.start:
        return {"type": "event_start", "event": {"type": delta.kind, "id": delta.event}}
    content = {"type": "text", "text": delta.text}
    return {
        "type": "event_delta",
        "event_id": delta.event,
        "delta": {"type": "content_delta", "index": delta.index, "content": content},
    }
