"""Sessions as the log has them: their last commit, their configuration, and appends beside a harness that works.

What the endpoints of sessions, events and streams share. Reading one session is one direct get; its configuration never
changes at a sequence, so it is read once and kept.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from holdfast.bus import commands, subjects
from holdfast.bus import events as ev
from holdfast.bus.api import Bus
from holdfast.bus.codec import encode
from holdfast.bus.commits import Stored, commit
from holdfast.bus.errors import Conflict, Unavailable
from holdfast.bus.head import Head, Status
from holdfast.bus.ids import Key, cell_of, is_token, new_id
from holdfast.session.events.unseen import Unseen
from holdfast.session.http.errors import not_found
from holdfast.session.log.pending import PendingInputs
from holdfast.session.log.readmodel import ReadModel

WRITER: Final = "session"
"""`by` of the commits of this service."""

KEPT: Final = 1_000
"""Configurations kept in memory, the last used."""

ATTEMPTS: Final = 25
"""Appends tried against a session that moves on each time, before the caller is asked to try again."""

_log = structlog.get_logger()


class SessionView(msgspec.Struct, frozen=True):
    """A session at one moment: its last commit and the configuration that is valid there."""

    key: Key
    last: Stored
    config: ev.SessionConfig

    @property
    def head(self) -> Head:
        return self.last.commit.head


class SessionRepository:
    """The sessions of `cell`. `model` lists them, `queued` knows what they have been sent; `now` is in microseconds."""

    def __init__(self, bus: Bus, model: ReadModel, *, cell: str, now: Callable[[], int]) -> None:
        self.bus = bus
        self.model = model
        self.cell = cell
        self.now = now
        self.queued = PendingInputs()
        self.unseen = Unseen(self.now)
        self._configs: OrderedDict[tuple[str, int], ev.SessionConfig] = OrderedDict()

    def key(self, tenant: str, session_id: str) -> Key:
        """Names a session of the tenant. Raises Problem 404 when the id cannot be one."""
        if not is_token(session_id) or cell_of(session_id) != self.cell:
            raise not_found("session")
        return Key(tenant, session_id)

    async def last(self, key: Key, *, leader: bool = False) -> Stored:
        """The last commit. Raises Problem 404 when there is none or the session was deleted."""
        found = await self.bus.log.head(key, leader=leader)
        if found is None or found.commit.head.deleted:
            raise not_found("session")
        return found

    async def open(self, key: Key, *, leader: bool = False) -> SessionView:
        """The last commit with its configuration. Raises Problem 404."""
        last = await self.last(key, leader=leader)
        return SessionView(key, last, await self.config(key, last))

    async def config(self, key: Key, last: Stored) -> ev.SessionConfig:
        """The configuration that is valid at that commit."""
        at = last.commit.head.config or last.seq
        config = self._configs.get((key.session, at))
        if config is not None:
            self._configs.move_to_end((key.session, at))
            return config
        config = config_in(last) if at == last.seq else None
        if config is None:  # in an earlier commit, or too large to travel in this one
            stored = await self.bus.log.get(key, at)
            config = config_in(stored) if stored else None
        if config is None:
            raise Unavailable(f"the configuration of {key.session} cannot be read")
        self._keep(key, at, config)
        return config

    def _keep(self, key: Key, at: int, config: ev.SessionConfig) -> None:
        self._configs[key.session, at] = config
        if len(self._configs) > KEPT:
            self._configs.popitem(last=False)

    def status(self, opened: SessionView) -> Status:
        """What a client is shown: a session runs from the moment its input was accepted."""
        return self.queued.status(opened.key, opened.head)

    async def append(
        self, key: Key, before: Stored | None, events: Sequence[ev.Event], *, whole: bool = True
    ) -> Stored:
        """Append behind `before` and tell the read model. Raises Conflict when the session has moved on."""
        new = commit(before, events, by=WRITER, new_id=new_id, now=self.now())
        stored = Stored(await self.bus.log.append(key, new, before.seq if before else 0), new)
        config = config_in(stored)
        if config:
            self._keep(key, stored.seq, config)
        try:
            self.model.put(key, stored, config, whole=whole)
        except Unavailable:
            _log.warning("not written through; the follower will", session=key.session)
        return stored

    async def change(self, key: Key, decide: Callable[[SessionView], Sequence[ev.Event]]) -> SessionView:
        """Append what `decide` says about the session as it is, again when a harness was faster (rule 19).

        Nothing is appended when it says nothing. Raises Problem 404, whatever `decide` raises, Unavailable.
        """
        opened = await self.open(key)
        for _ in range(ATTEMPTS):
            events = decide(opened)
            if not events:
                return opened
            try:
                stored = await self.append(key, opened.last, events)
            except Conflict:
                opened = await self.open(key, leader=True)
            else:
                return SessionView(key, stored, config_in(stored) or opened.config)
        raise Unavailable(f"{key.session} changes too fast")

    async def unclaimed(self, key: Key, *, within: float) -> None:
        """Return when no harness holds the session, or after `within` seconds in any case."""
        try:
            async with asyncio.timeout(within):
                last = await self.last(key, leader=True)
                if last.commit.head.claim is None:
                    return
                async for stored in self.bus.log.tail(key, last.seq):
                    if stored and stored.commit.head.claim is None:
                        return
        except TimeoutError:
            return

    async def release(self, key: Key, *, files: bool) -> None:
        """Tell the workers that the session needs no sandbox any more; best effort."""
        await self.bus.core.publish(
            subjects.RELEASE, encode(commands.Release(tenant=key.tenant, session=key.session, files=files))
        )


def config_in(stored: Stored) -> ev.SessionConfig | None:
    """The configuration that a commit brings, if it does and it travels in it."""
    return next((e for e in stored.commit.events if isinstance(e, ev.SessionConfig)), None)
