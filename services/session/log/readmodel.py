"""What lists need and the log cannot answer directly: a copy in SQLite, one per process, disposable.

It follows the log of the cell and may lag behind it by milliseconds; what this process appends itself is written
through, so a client reads its own writes. Nothing is decided by it and no session is read from it by id. It is rebuilt
from zero when its schema changes, when it cannot be read, or when the streams are other ones than it was made from.

Every statement goes through an index and takes microseconds, so they run on the event loop: a hop to a thread costs
more.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.errors import Unavailable
from holdfast.bus.head import Head
from holdfast.bus.ids import Key

SCHEMA_VERSION: Final = 1
"""Of the tables below; a file with another one is thrown away."""

REMEMBERED: Final = 100_000
"""Rows whose numbers are kept in memory."""

PATIENCE: Final = 2.0
"""Seconds that a list waits for the tables to be filled."""

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE sessions (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, created INTEGER NOT NULL,
    agent TEXT NOT NULL, version INTEGER NOT NULL, status TEXT NOT NULL, archived INTEGER NOT NULL,
    claimed INTEGER NOT NULL, half INTEGER NOT NULL, seq INTEGER NOT NULL, head BLOB NOT NULL, config BLOB NOT NULL
);
CREATE INDEX sessions_by_time ON sessions (tenant, created, id);
CREATE INDEX sessions_by_agent ON sessions (tenant, agent, created, id);
CREATE INDEX sessions_by_status ON sessions (tenant, status, created, id);
CREATE INDEX sessions_claimed ON sessions (seq) WHERE claimed = 1;
CREATE INDEX sessions_half_made ON sessions (created) WHERE half = 1;
CREATE TABLE commits (
    session INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (session, seq)
) WITHOUT ROWID;
CREATE TABLE calls (session INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (session, id)) WITHOUT ROWID;
"""

_CUSTOM_CALL: Final = str(ev.AgentCustomToolUse.__struct_config__.tag)

_log = structlog.get_logger()
_head = msgspec.json.Decoder(Head)
_config = msgspec.json.Decoder(ev.SessionConfig)


class Row(msgspec.Struct, frozen=True):
    """A session as the read model knows it."""

    id: str
    tenant: str
    head: Head
    config: ev.SessionConfig

    @property
    def key(self) -> Key:
        return Key(self.tenant, self.id)


class ReadModel:
    """`path` is a file, or empty for memory. Methods raise Unavailable when the file breaks; it is then rebuilt."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: dict[str, tuple[int, int]] = {}
        """Number of each session's row and the last commit it shows; (0, 0) where there is none."""
        self._gone: dict[str, int] = {}
        """Deleted sessions whose tombstone the follower has not reached, with its sequence."""
        self.position = 0
        """Every commit of the log up to this stream sequence is in the tables."""
        self.caught_up = asyncio.Event()
        """Set when everything that was stored when this process started is in the tables."""
        self.builds = 0
        """Counts the times the tables were made anew: whoever fills them starts again then."""
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as exc:
            _log.warning("read model unreadable; building it anew", error=str(exc))
            self._db = self._anew()

    # --- life ------------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path or ":memory:", isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=OFF")  # it can be lost at any time
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
                    db.execute(f'DROP TABLE "{name}"')
                db.executescript(_SCHEMA)
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                self.builds += 1
            (self.position,) = db.execute("SELECT coalesce(max(value), 0) FROM meta WHERE name = 'position'").fetchone()
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db

    def _anew(self) -> sqlite3.Connection:
        if self._path:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        self._rows.clear()
        self._gone.clear()
        self.position = 0
        self.caught_up.clear()
        try:
            return self._open()
        except sqlite3.DatabaseError as exc:  # such as on a full disk
            _log.warning("the read model is kept in memory until the next start", cause=str(exc))
            self._path = None
            return self._open()

    def rebuild(self) -> None:
        """Forget everything; the follower fills the tables again."""
        self._db.close()
        self._db = self._anew()

    def belongs_to(self, incarnation: str) -> None:
        """Start from zero unless the tables were made from the streams with this name."""
        found = self._all("SELECT value FROM meta WHERE name = 'incarnation'")
        if found and found[0][0] != incarnation:
            _log.warning("the streams are new; building the read model anew")
            self.rebuild()
        self._all("INSERT OR REPLACE INTO meta VALUES ('incarnation', ?)", incarnation)

    def close(self) -> None:
        with contextlib.suppress(sqlite3.DatabaseError):  # nothing of value is lost
            self._save()
        self._db.close()

    def _all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as exc:
            _log.exception("read model broken; building it anew")
            self.rebuild()
            raise Unavailable("the read model is being rebuilt") from exc

    def _many(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        try:
            self._db.executemany(sql, rows)
        except sqlite3.DatabaseError as exc:
            _log.exception("read model broken; building it anew")
            self.rebuild()
            raise Unavailable("the read model is being rebuilt") from exc

    def _save(self) -> None:
        if self._db.in_transaction:
            self._all("COMMIT")

    def _begin(self) -> None:
        """Open the transaction that the next batch of the follower closes; this connection sees it already."""
        if not self._db.in_transaction:
            self._all("BEGIN")

    # --- filling ---------------------------------------------------------------------------------------------------

    def apply(self, batch: Sequence[tuple[Key, Stored, ev.SessionConfig | None]]) -> None:
        """A batch of the follower: every commit of the cell behind `position`, in order, with its new configuration."""
        self._begin()
        last: dict[Key, tuple[Stored, ev.SessionConfig | None]] = {}
        for key, stored, config in batch:
            before = last.get(key)
            last[key] = (stored, config or (before[1] if before else None))
        for key, (stored, config) in last.items():
            self.put(key, stored, config)
        commits: list[tuple[int, int, int]] = []
        calls: list[tuple[int, str]] = []
        for key, stored, _ in batch:
            number = self._number(key)
            if number:
                commits.append((number, stored.seq, stored.commit.at))
                calls += [(number, event.id) for event in stored.commit.events if _is_custom_call(event)]
            self.position = stored.seq
        self._many("INSERT OR REPLACE INTO commits VALUES (?, ?, ?)", commits)
        self._many("INSERT OR IGNORE INTO calls VALUES (?, ?)", calls)
        self._all("INSERT OR REPLACE INTO meta VALUES ('position', ?)", self.position)
        self._gone = {session: seq for session, seq in self._gone.items() if seq > self.position}
        self._save()

    def put(self, key: Key, stored: Stored, config: ev.SessionConfig | None, *, whole: bool = False) -> None:
        """The session as it is after that commit, unless more is known already. `config` None: it is what it was.

        `whole` says that the creation was answered: until its first input is taken, a session that was created with one
        is half made, and not listed (see `creation`).
        """
        self._begin()
        head, (number, shown) = stored.commit.head, self._row_of(key)
        if head.deleted:
            self._delete(key, number, stored.seq)
        elif stored.seq <= max(shown, self._gone.get(key.session, 0)):
            if whole:
                self._all("UPDATE sessions SET half = 0 WHERE n = ?", number)
        else:
            number = self._write(key, number, stored, config, half=not whole and head.count == 1)
            self._rows[key.session] = (number, stored.seq if number else 0)

    def _write(self, key: Key, number: int, stored: Stored, config: ev.SessionConfig | None, *, half: bool) -> int:
        """Write the row of a session and return its number; 0 when nothing is known of it but this commit."""
        head = stored.commit.head
        now = (head.status, int(bool(head.archived)), int(bool(head.claim)), stored.seq, msgspec.json.encode(head))
        if config is None:
            if number:
                sql = "UPDATE sessions SET status=?, archived=?, claimed=?, seq=?, head=?, half=min(half, ?) WHERE n=?"
                self._all(sql, *now, int(half), number)
            return number
        half = half and bool(config.first_input)
        made = (str(config.agent["id"]), int(config.agent["version"]), msgspec.json.encode(config), int(half))
        if number:
            sql = (
                "UPDATE sessions SET status=?, archived=?, claimed=?, seq=?, head=?, agent=?, version=?, config=?,"
                " half=min(half, ?) WHERE n=?"
            )
            self._all(sql, *now, *made, number)
            return number
        sql = (
            "INSERT INTO sessions (id, tenant, created, status, archived, claimed, seq, head, agent, version, config,"
            " half) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING n"
        )
        return int(self._all(sql, key.session, key.tenant, head.created, *now, *made)[0][0])

    def _delete(self, key: Key, number: int, seq: int) -> None:
        if number:
            for table, column in (("sessions", "n"), ("commits", "session"), ("calls", "session")):
                self._all(f"DELETE FROM {table} WHERE {column} = ?", number)  # noqa: S608  our own names
        if seq > self.position:
            self._gone[key.session] = seq
        self._rows[key.session] = (0, 0)

    def _row_of(self, key: Key) -> tuple[int, int]:
        row = self._rows.get(key.session)
        if row is None:
            found = self._all("SELECT n, seq FROM sessions WHERE id = ? AND tenant = ?", key.session, key.tenant)
            if len(self._rows) > REMEMBERED:
                self._rows.clear()
            row = self._rows[key.session] = (int(found[0][0]), int(found[0][1])) if found else (0, 0)
        return row

    def _number(self, key: Key) -> int:
        return self._row_of(key)[0]

    # --- asking ----------------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Wait until lists are whole. Raises Unavailable when that takes long: a large log is read from its start."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.caught_up.wait()
        except TimeoutError:
            raise Unavailable("the list is being rebuilt") from None

    def find(self, where: Iterable[tuple[str, Sequence[Any]]], *, ascending: bool, limit: int) -> list[Row]:
        """Listed sessions that meet all conditions (SQL over the columns, with its values), ordered by time and id."""
        if not self.caught_up.is_set():
            raise Unavailable("the list is being rebuilt")
        conditions = [("half = 0", ()), *where]
        direction = "ASC" if ascending else "DESC"
        sql = (
            "SELECT id, tenant, head, config FROM sessions WHERE "  # noqa: S608  conditions are texts of ours
            + " AND ".join(text for text, _ in conditions)
            + f" ORDER BY created {direction}, id {direction} LIMIT ?"
        )
        values = [value for _, given in conditions for value in given]
        return [self._row(found) for found in self._all(sql, *values, limit)]

    def half_made(self, before: int) -> list[Row]:
        """Sessions created before that time (microseconds) whose first input nobody has taken."""
        sql = "SELECT id, tenant, head, config FROM sessions WHERE half = 1 AND created < ? LIMIT 1000"
        return [self._row(found) for found in self._all(sql, before)]

    def claimed(self) -> list[Row]:
        """Sessions that a harness holds, the one that moved last comes last."""
        sql = "SELECT id, tenant, head, config FROM sessions WHERE claimed = 1 ORDER BY seq LIMIT 10000"
        return [self._row(found) for found in self._all(sql)]

    @staticmethod
    def _row(found: tuple[Any, ...]) -> Row:
        return Row(found[0], found[1], _head.decode(found[2]), _config.decode(found[3]))

    def commits_below(self, key: Key, seq: int, limit: int) -> list[int]:
        """Sequences of the session's commits below `seq`, newest first; complete only up to `position`."""
        sql = "SELECT seq FROM commits WHERE session = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
        return [found for (found,) in self._all(sql, self._number(key), seq, limit)]

    def last_before(self, key: Key, at: int) -> int:
        """A sequence up to which all commits of the session began before that time; 0 when none is known."""
        sql = "SELECT seq FROM commits WHERE session = ? AND at < ? ORDER BY seq DESC LIMIT 1 OFFSET 1"
        found = self._all(sql, self._number(key), at)
        return int(found[0][0]) if found else 0

    def custom_calls(self, key: Key, ids: Iterable[str]) -> set[str]:
        """Which of the ids are custom tool calls of the session; complete only up to `position`."""
        sql = "SELECT id FROM calls WHERE session = ? AND id = ?"
        number = self._number(key)
        return {one for one in ids if self._all(sql, number, one)}


def _is_custom_call(event: ev.Event) -> bool:
    return (event.of if isinstance(event, ev.Blob) else ev.type_of(event)) == _CUSTOM_CALL
