"""Sessions as the log has them: their last commit, their configuration, and appends beside a harness that works.

Reading one session is one direct get. The configuration at a sequence of the log never changes, so it is read once and
cached.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import aclosing
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
from holdfast.session.http.errors import cell_not_served, not_found
from holdfast.session.log.claims import OpenClaims
from holdfast.session.log.known_heads import KnownHeads
from holdfast.session.log.pending import PendingInputs
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.running_turns import RunningTurns
from holdfast.session.log.unseen_inputs import UnseenInputs

WRITER: Final = "session"
"""`by` of the commits of this service."""

MAX_CACHED_CONFIGS: Final = 1_000
"""Configurations kept in memory, those used last."""

MAX_APPEND_ATTEMPTS: Final = 25
"""Attempts to append to a session in which others append too; after them the caller is told to send it again."""

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
    """The sessions of `cells`; new ones are made in the first. `now` is the clock, in microseconds since 1970."""

    def __init__(
        self,
        bus: Bus,
        read_model: ReadModel,
        *,
        cells: Sequence[str],
        now: Callable[[], int],
        running_turns: int = 0,
    ) -> None:
        """`running_turns`: most turns of a tenant at once; 0: no limit."""
        self.bus = bus
        self.read_model = read_model
        self.cells = tuple(cells)
        self.now = now
        self.pending = PendingInputs()
        self.turns = RunningTurns(read_model.queries, self.pending, running_turns)
        self.claims = {cell: OpenClaims() for cell in self.cells}
        self.unseen = UnseenInputs()
        self.heads = KnownHeads()
        self.at_rest: Callable[[Key], None] = lambda _: None
        """Told by the projector of each session whose log says that it rests."""
        self.deleted = asyncio.Event()
        """Set when this process deletes a session: there is something to erase (rule 29)."""
        self._configs: OrderedDict[tuple[str, int], ev.SessionConfig] = OrderedDict()

    def key(self, tenant: str, session_id: str) -> Key:
        """The key of a session of the tenant. Raises ApiError 404 for a text that is no id of a served cell."""
        cell = cell_of(session_id) if is_token(session_id) else ""
        if not cell:
            raise not_found("session")
        if cell not in self.cells:
            raise cell_not_served(cell)
        return Key(tenant, session_id)

    # --- reading ---------------------------------------------------------------------------------------------------

    async def last_commit(self, key: Key, *, leader: bool = False) -> Stored:
        """The last commit, from any replica of the log or from its leader. Raises ApiError 404, also once deleted."""
        found = await self.bus.log.head(key, leader=leader)
        if found is None or found.commit.head.deleted:
            raise not_found("session")
        return found

    async def view(self, key: Key, *, leader: bool = False) -> SessionView:
        """The last commit with its configuration. Raises ApiError 404."""
        last = await self.last_commit(key, leader=leader)
        return SessionView(key, last, await self.config(key, last))

    async def config(self, key: Key, last: Stored) -> ev.SessionConfig:
        """The configuration that is valid at that commit. Raises Unavailable when it cannot be read."""
        seq = last.commit.head.config or last.seq
        config = self._configs.get((key.session, seq))
        if config is not None:
            self._configs.move_to_end((key.session, seq))
            return config
        config = config_in(last) if seq == last.seq else None
        if config is None:  # it is in an earlier commit, or was too large to travel in this one
            stored = await self.bus.log.get(key, seq)
            config = config_in(stored) if stored else None
        if config is None:
            raise Unavailable(f"the configuration of {key.session} cannot be read")
        self._cache_config(key, seq, config)
        return config

    def _cache_config(self, key: Key, seq: int, config: ev.SessionConfig) -> None:
        self._configs[key.session, seq] = config
        if len(self._configs) > MAX_CACHED_CONFIGS:
            self._configs.popitem(last=False)

    def forget(self, key: Key) -> None:
        """Drop what is cached of a deleted session."""
        for cached in [cached for cached in self._configs if cached[0] == key.session]:
            del self._configs[cached]
        self.pending.forget(key)

    def status(self, view: SessionView) -> Status:
        """The status that clients see: running from the moment an input that starts a turn is accepted."""
        return self.pending.status(view.key, view.head)

    # --- appending -------------------------------------------------------------------------------------------------

    async def append(
        self, key: Key, before: Stored | None, events: Sequence[ev.Event], *, complete: bool = True
    ) -> Stored:
        """Append one commit behind `before` and write it to the read model. Raises Conflict when there is a later one.

        `complete`: as in `Projection.put`.
        """
        new = commit(before, events, by=WRITER, new_id=new_id, now=self.now())
        stored = Stored(await self.bus.log.append(key, new, before.seq if before else 0), new)
        self.heads.put(key, stored.seq, new.head)
        config = config_in(stored)
        if config:
            self._cache_config(key, stored.seq, config)
        try:
            self.read_model.projection.put(key, stored, config, complete=complete)
        except Unavailable:
            _log.warning("commit not written to the read model; the projector will", session=key.session)
        if new.head.deleted and not new.head.erased:
            self.deleted.set()
        if before:
            await self.bus.core.publish(subjects.kept(key), b"")  # what replicas keep of the session is old (rule 1)
        return stored

    async def change(self, key: Key, decide: Callable[[SessionView], Sequence[ev.Event]]) -> SessionView:
        """Append the events that `decide` returns for the session as it is; nothing if it returns none (rule 19).

        When a harness has appended meanwhile, the session is read and decided about again. Raises ApiError 404,
        Unavailable after MAX_APPEND_ATTEMPTS, and whatever `decide` raises.
        """
        view = await self.view(key)
        for _ in range(MAX_APPEND_ATTEMPTS):
            events = decide(view)
            if not events:
                return view
            try:
                stored = await self.append(key, view.last, events)
            except Conflict:
                view = await self.view(key, leader=True)
            else:
                return SessionView(key, stored, config_in(stored) or view.config)
        raise Unavailable(f"{key.session} changes too fast")

    # --- harnesses and sandboxes -----------------------------------------------------------------------------------

    async def wait_until_unclaimed(self, key: Key, *, at_most_s: float) -> None:
        """Return when no harness claims the session, or after `at_most_s` seconds in any case."""
        try:
            async with asyncio.timeout(at_most_s):
                last = await self.last_commit(key, leader=True)
                if last.commit.head.claim is None:
                    return
                async with aclosing(self.bus.log.tail(key, last.seq)) as tail:
                    async for stored in tail:
                        if stored and stored.commit.head.claim is None:
                            return
        except TimeoutError:
            return

    async def release_sandbox(self, key: Key, *, files: bool) -> None:
        """Tell the workers that the session needs no sandbox any more, with `files` nor its files; best effort."""
        release = commands.Release(tenant=key.tenant, session=key.session, files=files)
        await self.bus.core.publish(subjects.release(key.cell), encode(release))


def config_in(stored: Stored) -> ev.SessionConfig | None:
    """The configuration that a commit brings; None if it brings none, or one too large to travel in the commit."""
    return next((e for e in stored.commit.events if isinstance(e, ev.SessionConfig)), None)
