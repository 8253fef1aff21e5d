"""Which deltas of the model's answer one connection is sent. Pure.

The deltas of an event that are sent are a prefix of the event: they begin with its start delta, have no holes, and end
at the latest with the event itself or with the end of its model request. Deltas and events of the log arrive on
separate subscriptions, so either may be first: a delta may be here before the start event of its request, or after the
end event. A start delta names its request, and is buffered until the start event of that request was sent. Where it
names none, ids tell, for they sort by time of creation: an event belongs to the last request of its thread that started
before its id was made.

A connection learns from the head of the log which requests are running when it opens. It is sent the deltas of such a
request if it hears them from the first one on, and none of them if it hears a piece whose start it has not heard.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from holdfast.bus import events as ev
from holdfast.bus.commands import Delta

MAX_REMEMBERED_ENDS: Final = 256
"""Events whose deltas have ended that are remembered, so that a late delta of them is dropped."""

MAX_BUFFERED_DELTAS: Final = 500
"""Deltas of a thread buffered until the start event of their request is sent; above it they are dropped."""


class _ThreadState:
    """The model request of one thread, and the deltas that wait for it."""

    def __init__(self, request: str = "") -> None:
        """`request` is running when the connection opens; nothing is known of its deltas yet."""
        self.request = request
        """Id of the start event of the model request that is running; empty when none is."""
        self.joined_late = bool(request)
        """The request had started when the connection opened."""
        self.missed_deltas = False
        """The request had sent deltas before the connection opened: none of its deltas are sent."""
        self._buffer: list[Delta] = []
        self._buffered_events: set[str] = set()

    def set_request(self, request: str) -> None:
        """That request has started; empty: none is running any more."""
        self.request, self.joined_late, self.missed_deltas = request, False, False

    def is_early(self, delta: Delta) -> bool:
        """True if the start event of the delta's request has not been sent yet."""
        if not self.request or delta.event in self._buffered_events:
            return True
        return delta.start and _time_part(delta.request) > _time_part(self.request)

    def buffer(self, delta: Delta) -> None:
        """Keep the delta until the start event of its request is sent."""
        if len(self._buffer) >= MAX_BUFFERED_DELTAS:
            self.take_buffer()
        self._buffer.append(delta)
        self._buffered_events.add(delta.event)

    def take_buffer(self) -> list[Delta]:
        """Return and clear the buffer."""
        deltas, self._buffer, self._buffered_events = self._buffer, [], set()
        return deltas


class DeltaFilter:
    """Selects the deltas for one connection that asked for events of the types `types`."""

    def __init__(self, types: Collection[str]) -> None:
        self._types = frozenset(types)
        self._threads: dict[str, _ThreadState] = {}
        self._open: dict[str, str] = {}
        """Thread of each event whose start delta was sent, by event id."""
        self._sent_chars: dict[str, int] = {}
        """Characters sent of each open event."""
        self._ended: deque[str] = deque(maxlen=MAX_REMEMBERED_ENDS)

    def begin(self, requests: Mapping[str, str]) -> None:
        """Start to listen. `requests` maps each thread to the id of the model request that is running in it.

        Events of which something was sent get no more deltas, since some may have been missed.
        """
        self.drop()
        self._threads = {thread: _ThreadState(request) for thread, request in requests.items()}

    def select(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Those of the deltas that are sent now, in order."""
        out: list[Delta] = []
        for delta in deltas:
            if delta.kind not in self._types or delta.event in self._ended:
                continue
            thread = self._threads.setdefault(delta.thread, _ThreadState())
            if thread.is_early(delta):
                thread.buffer(delta)
            elif self._accepts(delta, thread):
                out.append(delta)
        return out

    def _accepts(self, delta: Delta, thread: _ThreadState) -> bool:
        if not delta.start:
            if delta.event in self._open:
                return delta.kind == "agent.message" and self._continues(delta)
            if thread.joined_late and _time_part(delta.event) > _time_part(thread.request):
                thread.missed_deltas = True
            return False
        request = thread.request
        earlier = _time_part(delta.event) < _time_part(request)
        if thread.missed_deltas or earlier or delta.request not in ("", request):
            self._end(delta.event)
            return False
        self._open[delta.event] = delta.thread
        self._sent_chars[delta.event] = 0
        return True

    def _continues(self, delta: Delta) -> bool:
        """Whether no piece is missing before this one; if one is, the event gets no more deltas."""
        if delta.at not in (-1, self._sent_chars[delta.event]):
            self._end(delta.event)
            return False
        self._sent_chars[delta.event] += len(delta.text)
        return True

    def observe(self, event: ev.Event) -> list[Delta]:
        """Note that an event of the log is sent, which may end deltas. Returns the deltas to send behind it."""
        match event:
            case ev.AgentMessage() | ev.AgentThinking():
                self._end(event.id)
            case ev.ModelRequestStart():
                thread = self._threads.setdefault(event.thread, _ThreadState())
                self._end_before(event)
                thread.set_request(event.id)
                return [d for d in thread.take_buffer() if d.event not in self._ended and self._accepts(d, thread)]
            case ev.ModelRequestEnd():
                thread = self._threads.setdefault(event.thread, _ThreadState())
                thread.set_request("")
                self._end_before(event)
            case _:
                pass
        return []

    def drop(self) -> None:
        """Deltas were lost: events of which something was sent get no more, since there would be a hole."""
        for event_id in list(self._open):
            self._end(event_id)
        for thread in self._threads.values():
            thread.take_buffer()

    def _end_before(self, event: ev.Event) -> None:
        """End the deltas of the events of that thread whose ids were made before `event`."""
        time_part = _time_part(event.id)
        for event_id, thread in list(self._open.items()):
            if thread == event.thread and _time_part(event_id) < time_part:
                self._end(event_id)

    def _end(self, event_id: str) -> None:
        self._open.pop(event_id, None)
        self._sent_chars.pop(event_id, None)
        self._ended.append(event_id)


def _time_part(event_id: str) -> str:
    """The part of an id that sorts by time."""
    return event_id.rpartition("_")[2]
