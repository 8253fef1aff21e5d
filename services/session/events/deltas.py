"""Which token deltas one connection is shown, and how they are spelled. Pure.

A preview is a prefix of the event to come: it begins with `event_start`, has no holes, and ends at the latest with the
event itself or with the end of its model request. Deltas and the log reach us on two ways, so a delta may be here
before the start of its request, or behind its end. The start of a preview names its request, and is held until the
start of that was shown. If it does not, ids tell, for they sort by time of creation: a preview belongs to the last
request of its thread that started before its id was made.

A connection learns the requests that run when it opens from the head of the log. It is shown the deltas of such a
request if it hears them from the first one on, and none of them if it hears a piece whose start it has not heard.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from holdfast.bus import events as ev
from holdfast.bus.commands import Delta

REMEMBERED: Final = 256
"""Ended previews remembered, against a late delta of one of them."""

HELD: Final = 500
"""Deltas held until the start of their request is shown; above it they are dropped."""


class _Thread:
    """What of one thread was shown."""

    def __init__(self, request: str = "") -> None:
        """`request` runs already; nothing is known of its deltas yet."""
        self.request = request
        """Id of the span start of the model request that runs."""
        self.joined = bool(request)
        """The request had started when the connection opened."""
        self.missed = False
        """The request had sent deltas before the connection opened: none of it is shown."""
        self.held: list[Delta] = []
        self.waits: set[str] = set()
        """Event ids of what is held."""

    def runs(self, request: str) -> None:
        """That request has started, or none runs any more."""
        self.request, self.joined, self.missed = request, False, False

    def early(self, delta: Delta) -> bool:
        """Whether the start of its request is still to come."""
        if not self.request or delta.event in self.waits:
            return True
        return delta.start and _made(delta.request) > _made(self.request)

    def hold(self, delta: Delta) -> None:
        """Keep it until then."""
        if len(self.held) >= HELD:
            self.release()
        self.held.append(delta)
        self.waits.add(delta.event)

    def release(self) -> list[Delta]:
        """What was held; nothing is any more."""
        held, self.held, self.waits = self.held, [], set()
        return held


class Previews:
    """The previews of one connection that asked for `kinds`. One that was opened in a response sees none of it."""

    def __init__(self, kinds: Collection[str]) -> None:
        self._kinds = frozenset(kinds)
        self._threads: dict[str, _Thread] = {}
        self._open: dict[str, str] = {}
        """Thread of each preview that has begun, by event id."""
        self._shown: dict[str, int] = {}
        """Characters of it that were shown."""
        self._ended: deque[str] = deque(maxlen=REMEMBERED)

    def begin(self, requests: Mapping[str, str]) -> None:
        """Listen from now on. `requests` maps each thread to the id of the model request that runs in it.

        Previews that have begun get no more, since something of them may have been missed.
        """
        self.cut()
        self._threads = {thread: _Thread(request) for thread, request in requests.items()}

    def take(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Those that the connection is shown now, in order."""
        out: list[Delta] = []
        for delta in deltas:
            if delta.kind not in self._kinds or delta.event in self._ended:
                continue
            thread = self._threads.setdefault(delta.thread, _Thread())
            if thread.early(delta):
                thread.hold(delta)
            elif self._shows(delta, thread):
                out.append(delta)
        return out

    def _shows(self, delta: Delta, thread: _Thread) -> bool:
        if not delta.start:
            if delta.event in self._open:
                return delta.kind == "agent.message" and self._continues(delta)
            thread.missed = thread.missed or (thread.joined and _made(delta.event) > _made(thread.request))
            return False
        request = thread.request
        if thread.missed or _made(delta.event) < _made(request) or delta.request not in ("", request):
            self._close(delta.event)
            return False
        self._open[delta.event] = delta.thread
        self._shown[delta.event] = 0
        return True

    def _continues(self, delta: Delta) -> bool:
        """Whether nothing is missing in front of the piece; otherwise the preview ends here."""
        if delta.at not in (-1, self._shown[delta.event]):
            self._close(delta.event)
            return False
        self._shown[delta.event] += len(delta.text)
        return True

    def follow(self, event: ev.Event) -> list[Delta]:
        """An event of the log was shown: what it closes gets no more deltas. Returns those that may come behind it."""
        match event:
            case ev.AgentMessage() | ev.AgentThinking():
                self._close(event.id)
            case ev.ModelRequestStart():
                thread = self._threads.setdefault(event.thread, _Thread())
                self._close_before(event)
                thread.runs(event.id)
                return [d for d in thread.release() if d.event not in self._ended and self._shows(d, thread)]
            case ev.ModelRequestEnd():
                thread = self._threads.setdefault(event.thread, _Thread())
                thread.runs("")
                self._close_before(event)
            case _:
                pass
        return []

    def cut(self) -> None:
        """Deltas were lost: whatever has begun gets no more, since it would have a hole."""
        for event_id in list(self._open):
            self._close(event_id)
        for thread in self._threads.values():
            thread.release()

    def _close_before(self, event: ev.Event) -> None:
        made = _made(event.id)
        for event_id, thread in list(self._open.items()):
            if thread == event.thread and _made(event_id) < made:
                self._close(event_id)

    def _close(self, event_id: str) -> None:
        self._open.pop(event_id, None)
        self._shown.pop(event_id, None)
        self._ended.append(event_id)


def _made(event_id: str) -> str:
    """The part of an id that sorts by time."""
    return event_id.rpartition("_")[2]


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
