"""Questions to the read model. Each raises Unavailable when SQLite cannot read the file."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.errors import Unavailable
from holdfast.bus.head import Head
from holdfast.bus.ids import Key
from holdfast.session.log.readmodel.tables import Tables

CATCH_UP_TIMEOUT_S: Final = 2.0
"""Seconds that a list waits for the tables to be filled."""

MAX_INCOMPLETE_SESSIONS: Final = 1_000
"""Incomplete sessions returned at once."""

MAX_DELETED_SESSIONS: Final = 10_000
"""Deleted sessions returned at once."""

MAX_CLAIMED_SESSIONS: Final = 10_000
"""Claimed sessions of a cell returned at once."""

_head = msgspec.json.Decoder(Head)
_config = msgspec.json.Decoder(ev.SessionConfig)


class ListedSession(msgspec.Struct, frozen=True):
    """A session as the read model knows it."""

    id: str
    tenant: str
    head: Head
    config: ev.SessionConfig

    @property
    def key(self) -> Key:
        return Key(self.tenant, self.id)


class DeletedSession(msgspec.Struct, frozen=True):
    """A session that was deleted at `at` (microseconds since 1970) and is not yet erased."""

    key: Key
    at: int


class Queries:
    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def wait_until_caught_up(self) -> None:
        """Return when lists are complete. Raises Unavailable when that takes long, as for a long log after a start."""
        try:
            async with asyncio.timeout(CATCH_UP_TIMEOUT_S):
                await self._tables.caught_up.wait()
        except TimeoutError:
            raise Unavailable("the list is being rebuilt") from None

    def sessions(
        self, where: Iterable[tuple[str, Sequence[Any]]], *, ascending: bool, limit: int
    ) -> list[ListedSession]:
        """Complete sessions that meet all conditions, ordered by time of creation and id.

        A condition is SQL over the columns with its values. Raises Unavailable while the tables are being filled.
        """
        if not self._tables.caught_up.is_set():
            raise Unavailable("the list is being rebuilt")
        conditions = [("incomplete = 0", ()), *where]
        direction = "ASC" if ascending else "DESC"
        sql = (
            "SELECT id, tenant, head, config FROM sessions WHERE "  # noqa: S608  conditions are texts of ours
            + " AND ".join(text for text, _ in conditions)
            + f" ORDER BY created {direction}, id {direction} LIMIT ?"
        )
        values = [value for _, given in conditions for value in given]
        return self._sessions(sql, *values, limit)

    def running(self, tenant: str, *, limit: int) -> list[str]:
        """Ids of sessions of the tenant that run, or make a model request again; any `limit` of them."""
        sql = "SELECT id FROM sessions WHERE tenant = ? AND status IN ('running', 'rescheduling') LIMIT ?"
        return [found for (found,) in self._tables.execute(sql, tenant, limit)]

    def incomplete(self, created_before: int) -> list[ListedSession]:
        """Sessions created before that time (microseconds since 1970) whose first input nobody has taken."""
        sql = "SELECT id, tenant, head, config FROM sessions WHERE incomplete = 1 AND created < ? LIMIT ?"
        return self._sessions(sql, created_before, MAX_INCOMPLETE_SESSIONS)

    def deleted(self) -> list[DeletedSession]:
        """Sessions that are deleted and not yet erased, the oldest deletion first."""
        sql = "SELECT tenant, id, at FROM deleted ORDER BY at LIMIT ?"
        found = self._tables.execute(sql, MAX_DELETED_SESSIONS)
        return [DeletedSession(Key(tenant, session_id), at) for tenant, session_id, at in found]

    def claimed(self, cell: str) -> list[ListedSession]:
        """Sessions of the cell that a harness has claimed; that with the latest commit comes last."""
        sql = "SELECT id, tenant, head, config FROM sessions WHERE claimed = 1 AND cell = ? ORDER BY seq LIMIT ?"
        return self._sessions(sql, cell, MAX_CLAIMED_SESSIONS)

    def stale(self, cell: str, updated_before: int) -> list[ListedSession]:
        """Claimed sessions of the cell whose last commit is older than that time (microseconds since 1970)."""
        sql = (
            "SELECT id, tenant, head, config FROM sessions WHERE claimed = 1 AND cell = ? AND updated < ?"
            " ORDER BY seq LIMIT ?"
        )
        return self._sessions(sql, cell, updated_before, MAX_CLAIMED_SESSIONS)

    def _sessions(self, sql: str, *values: Any) -> list[ListedSession]:
        return [
            ListedSession(session_id, tenant, _head.decode(head), _config.decode(config))
            for session_id, tenant, head, config in self._tables.execute(sql, *values)
        ]

    def commits_below(self, key: Key, seq: int, limit: int) -> list[int]:
        """Sequences of the session's commits below `seq`, newest first; complete only up to `position`."""
        sql = "SELECT seq FROM commits WHERE session = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
        return [found for (found,) in self._tables.execute(sql, self._tables.session_row(key).number, seq, limit)]

    def last_before(self, key: Key, time_us: int) -> int:
        """The largest known sequence such that every commit up to it began before `time_us`; 0 when none is known.

        It is the last commit but one that began before: the events of the last may reach beyond that time.
        """
        sql = "SELECT seq FROM commits WHERE session = ? AND at < ? ORDER BY seq DESC LIMIT 1 OFFSET 1"
        found = self._tables.execute(sql, self._tables.session_row(key).number, time_us)
        return int(found[0][0]) if found else 0

    def custom_calls(self, key: Key, ids: Iterable[str]) -> set[str]:
        """Those ids that are custom tool calls of the session; complete only up to `position`."""
        sql = "SELECT id FROM calls WHERE session = ? AND id = ?"
        number = self._tables.session_row(key).number
        return {one for one in ids if self._tables.execute(sql, number, one)}
