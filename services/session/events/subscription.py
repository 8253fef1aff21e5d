"""Fills the buffer of one event stream from the log of its session and from what is published about it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Message, Subscription
from holdfast.bus.commands import Delta, Output
from holdfast.bus.commits import Stored
from holdfast.bus.ids import Key
from holdfast.session.events.buffer import Item, Live, StreamBuffer
from holdfast.session.log.repository import SessionRepository
from holdfast.session.log.serialize import after_commit

READER_PATIENCE_S: Final = 1.0
"""Seconds that a full buffer waits for its reader before the rest is left to the log."""

_deltas: msgspec.json.Decoder[list[Delta] | Delta] = msgspec.json.Decoder(list[Delta] | Delta)
_output = msgspec.json.Decoder(Output)
_log = structlog.get_logger()


class SessionSubscription:
    """`changed` is set whenever there may be something to send."""

    def __init__(self, sessions: SessionRepository, key: Key, buffer: StreamBuffer, changed: asyncio.Event) -> None:
        self._sessions = sessions
        self._key = key
        self._buffer = buffer
        self._changed = changed
        self._taken = asyncio.Event()
        """Set when the buffer was emptied."""
        self._tail: AsyncGenerator[Stored | None] | None = None
        self._subscriptions: list[Subscription] = []

    async def open(self) -> None:
        """Subscribe, then read the last commit, so that nothing stored after it is missed.

        Raises ApiError 404 and BusError; then it is closed.
        """
        sessions, key, buffer = self._sessions, self._key, self._buffer
        buffer.reopen()
        try:
            if not self._subscriptions:
                await self._subscribe()
            last = None
            position = buffer.position
            if position is None:
                last = await sessions.last_commit(key, leader=True)
                position = after_commit(last.seq)
            replay_after = max(position.seq - 1, 0)
            self._tail = sessions.bus.log.tail(key, replay_after)
            await anext(self._tail)
            last = last or await sessions.last_commit(key, leader=True)
        except BaseException:
            await self.close()
            raise
        buffer.begin(last, position, replay_after)

    async def _subscribe(self) -> None:
        core, key = self._sessions.bus.core, self._key
        if self._buffer.wants_deltas:
            self._subscriptions.append(await core.subscribe(subjects.delta(key), self._hear_deltas))
        if self._buffer.wants_outputs:
            self._subscriptions.append(await core.subscribe(subjects.output(key), self._hear_output))

    async def close(self) -> None:
        """End the tail and the subscriptions."""
        if self._tail is not None:
            await self._tail.aclose()
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await subscription.close()

    async def follow(self) -> None:
        """Put commits into the buffer until the session ends or the reader is too slow. Raises BusError."""
        assert self._tail is not None
        async with aclosing(self._tail) as tail:
            async for stored in tail:
                if stored is not None and not await self._put(stored):
                    return
                if self._buffer.ended:
                    return

    async def _put(self, stored: Stored) -> bool:
        """Put in a whole commit, as the reader takes it. False if the reader is too slow: the buffer has overflowed."""
        while True:
            self._taken.clear()
            whole = self._buffer.put_commit(stored)
            self._changed.set()
            if whole:
                return True
            try:
                async with asyncio.timeout(READER_PATIENCE_S):
                    await self._taken.wait()
            except TimeoutError:
                self._buffer.overflowed = True
                return False

    def take(self) -> Sequence[Item]:
        """Return and clear what waits in the buffer."""
        self._taken.set()
        return self._buffer.take()

    async def _hear_deltas(self, message: Message) -> None:
        try:
            found = _deltas.decode(message.data)
        except msgspec.MsgspecError:
            _log.warning("unreadable delta dropped", session=self._key.session)
            return
        self._put_live(found if isinstance(found, list) else [found])

    async def _hear_output(self, message: Message) -> None:
        try:
            found = _output.decode(message.data)
        except msgspec.MsgspecError:
            _log.warning("unreadable tool output dropped", session=self._key.session)
            return
        self._put_live([found])

    def _put_live(self, live: Sequence[Live]) -> None:
        self._buffer.put_live(live)
        if self._buffer:
            self._changed.set()
