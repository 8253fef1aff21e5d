"""What waits to be sent on one event stream: events of the log, and between them deltas and the output of tools. Pure.

Events are kept as the bytes that are sent, so that what waits is bounded in bytes. Deltas have no position, are stored
nowhere, and are dropped first when the reader is slow. If events alone fill the buffer, it takes no more: they are in
the log, and are put in from `position` on when the reader has caught up.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from holdfast.bus import events as ev
from holdfast.bus.commands import Delta, Output
from holdfast.bus.commits import Stored
from holdfast.bus.ids import time_of
from holdfast.session.events.deltas import DeltaFilter
from holdfast.session.events.frames import event_frame
from holdfast.session.events.tool_output import TOOL_RESULT_TYPE, OutputFilter
from holdfast.session.log.serialize import START, Position, VisibleEvent, visible_events

MAX_BUFFERED_BYTES: Final = 128 * 1024
"""Bytes of events that wait for a slow reader. From it on deltas are dropped, and events are left to the log. The event
that reaches it is still put in, so that one of any size passes."""

MAX_BUFFERED_LIVE: Final = 2_000
MAX_BUFFERED_LIVE_CHARS: Final = 256 * 1024
"""Deltas and outputs that wait for a slow reader, and their characters. Above it they are dropped."""

Live = Delta | Output
"""A message that is published and not stored."""

Item = bytes | Delta
"""The frame of an event, or a delta."""


class StreamBuffer:
    """The buffer of a stream that sends events behind `position`, and deltas of events of the types `delta_types`.

    `position` None: behind the last commit when the stream opens.
    """

    def __init__(self, delta_types: Collection[str], position: Position | None) -> None:
        types = [type_ for type_ in delta_types if type_ != TOOL_RESULT_TYPE]
        self._deltas = DeltaFilter(types) if types else None
        self._outputs = OutputFilter() if TOOL_RESULT_TYPE in delta_types else None
        self.position = position
        """Position of the last event that was put in."""
        self.ended = False
        """The session has ended: no event will follow."""
        self.overflowed = False
        """The reader is too slow: the following events are left to the log, and deltas are dropped."""
        self._items: deque[Item] = deque()
        self._event_bytes = 0
        """Bytes of the events in `_items`."""
        self._live_count = 0
        self._live_chars = 0
        """The deltas in `_items` and their characters."""
        self._opening = True
        self._early: list[Live] = []
        """Deltas and outputs heard while the stream opens and until the replay has been put in."""
        self._replay_end = 0
        """Sequence of the last commit when the stream opened; deltas are dropped until it has been put in."""
        self._last_seq = 0
        """Sequence of the last commit that was put in."""
        self._asked_at = 0
        """When the message was sent that has no output of the model yet (microseconds, Unix); 0: there is none."""
        self._answered: int | None = None

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def wants_deltas(self) -> bool:
        return self._deltas is not None

    @property
    def wants_outputs(self) -> bool:
        return self._outputs is not None

    # --- opening ---------------------------------------------------------------------------------------------------

    def reopen(self) -> None:
        """The stream opens, for the first time or after an overflow: `begin` follows."""
        self._opening, self.overflowed = True, False
        self._early.clear()

    def begin(self, last: Stored, position: Position, replay_after: int) -> None:
        """Take commits above the sequence `replay_after` and events behind `position`. `last`: the last commit."""
        head = last.commit.head
        self.position = position
        self._last_seq, self._replay_end = replay_after, last.seq
        if self._deltas is not None:
            self._deltas.begin({name: thread.request for name, thread in head.threads.items() if thread.request})
        if self._outputs is not None:
            self._outputs.begin(head)
        self._opening = False
        self._take_early()
        sent = position.seq > last.seq or (position.seq == last.seq and not any(visible_events(last, position)))
        self.ended = bool(head.archived) and sent

    # --- filling ---------------------------------------------------------------------------------------------------

    @property
    def _replayed(self) -> bool:
        return not self._opening and self._last_seq >= self._replay_end

    @property
    def is_full(self) -> bool:
        return self._event_bytes >= MAX_BUFFERED_BYTES

    def put_commit(self, stored: Stored) -> bool:
        """Add the visible events of the next commit, up to the end of the session.

        False if the buffer is full: a further call with the same commit puts in the rest.
        """
        for event in visible_events(stored, self.position or START):
            if self.ended:
                break
            if self.is_full:
                return False
            self._put_event(event)
        self._last_seq = stored.seq
        self._take_early()
        return True

    def _put_event(self, event: VisibleEvent) -> None:
        data = event_frame(event)
        self._items.append(data)
        self._event_bytes += len(data)
        self.position = event.position
        match event.event:
            case ev.UserMessage(id=sent):
                self._asked_at = self._asked_at or time_of(sent) or 0
            case ev.AgentMessage() | ev.AgentToolUse() | ev.AgentCustomToolUse():
                self._note_output(is_live=self._replayed)
            case _:
                pass
        if self._replayed:
            if self._outputs is not None:
                self._outputs.observe(event.event)
            if self._deltas is not None:
                self._add_live(self._deltas.observe(event.event))
        self.ended = isinstance(event.event, ev.SessionDeleted | ev.SessionStatusTerminated)

    def put_live(self, live: Sequence[Live]) -> None:
        """Add those deltas and outputs that the stream is shown, at once or when the replay has been put in."""
        if self.overflowed:
            return
        if self._replayed:
            self._put_live(live)
            return
        self._early += live
        if len(self._early) > MAX_BUFFERED_LIVE or _chars(self._early) > MAX_BUFFERED_LIVE_CHARS:
            self._early.clear()  # the deltas behind a start that is dropped here will not be selected

    def _take_early(self) -> None:
        if self._early and self._replayed:
            early, self._early = self._early, []
            self._put_live(early)

    def _put_live(self, live: Sequence[Live]) -> None:
        too_much = self._live_count > MAX_BUFFERED_LIVE or self._live_chars > MAX_BUFFERED_LIVE_CHARS
        if too_much or self.is_full:
            self._drop_live()
        if self._deltas is not None:
            self._add_live(self._deltas.select(one for one in live if isinstance(one, Delta)))
        if self._outputs is not None:
            self._add_live(self._outputs.select(one for one in live if isinstance(one, Output)))

    def _drop_live(self) -> None:
        self._items = deque(item for item in self._items if isinstance(item, bytes))
        self._live_count = self._live_chars = 0
        for live_filter in (self._deltas, self._outputs):
            if live_filter is not None:
                live_filter.drop()

    def _add_live(self, deltas: Sequence[Delta]) -> None:
        if deltas:
            self._note_output(is_live=True)
        self._items += deltas
        self._live_count += len(deltas)
        self._live_chars += _chars(deltas)

    def _note_output(self, *, is_live: bool) -> None:
        if self._asked_at and is_live:
            self._answered = self._asked_at
        self._asked_at = 0

    # --- sending ---------------------------------------------------------------------------------------------------

    def take(self) -> Sequence[Item]:
        """Return and clear what waits."""
        items, self._items = self._items, deque()
        self._event_bytes = self._live_count = self._live_chars = 0
        return items

    def take_answered(self) -> int | None:
        """When the message was sent to which the first output was put in since the last call (microseconds, Unix).

        None if there is none. History that is replayed counts for nothing.
        """
        answered, self._answered = self._answered, None
        return answered


def _chars(live: Iterable[Live]) -> int:
    return sum(len(one.text) for one in live)
