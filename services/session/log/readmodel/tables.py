"""The SQLite file of the read model: its schema, its transactions, and its rebuild when it cannot be used."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from holdfast.bus.codec import VERSION as COMMIT_VERSION
from holdfast.bus.errors import Unavailable
from holdfast.bus.ids import Key, cell_of

SCHEMA_VERSION: Final = 4
"""Version of the tables below; a file with another one is thrown away."""

MAX_CACHED_SESSION_ROWS: Final = 100_000
"""Sessions whose row number is kept in memory; above it all are forgotten, and read again."""

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE cells (
    name TEXT PRIMARY KEY, stream_epoch TEXT NOT NULL DEFAULT '', position INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE sessions (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, cell TEXT NOT NULL, created INTEGER NOT NULL,
    agent TEXT NOT NULL, version INTEGER NOT NULL, status TEXT NOT NULL, archived INTEGER NOT NULL,
    claimed INTEGER NOT NULL, incomplete INTEGER NOT NULL, seq INTEGER NOT NULL, updated INTEGER NOT NULL,
    head BLOB NOT NULL, config BLOB NOT NULL
);
CREATE INDEX sessions_by_time ON sessions (tenant, created, id);
CREATE INDEX sessions_by_agent ON sessions (tenant, agent, created, id);
CREATE INDEX sessions_by_status ON sessions (tenant, status, created, id);
CREATE INDEX sessions_claimed ON sessions (cell, seq) WHERE claimed = 1;
CREATE INDEX sessions_incomplete ON sessions (created) WHERE incomplete = 1;
CREATE TABLE commits (
    session INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (session, seq)
) WITHOUT ROWID;
CREATE TABLE calls (session INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (session, id)) WITHOUT ROWID;
"""
"""`incomplete` is 1 while the creation of a session is incomplete (see `sessions.create`). Every commit of the log of a
cell up to the stream sequence `position` is in the tables; '' is the `stream_epoch` of a cell that was never read."""

_log = structlog.get_logger()


_UNWRITABLE: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def _is_unwritable(exc: sqlite3.DatabaseError) -> bool:
    """Whether the disk under the file is at fault, and not what is in the file."""
    code: int | None = getattr(exc, "sqlite_errorcode", None)  # errors of the module itself have none
    return code is not None and code & 0xFF in _UNWRITABLE


def _lacks_commits(db: sqlite3.Connection) -> bool:
    """Whether a process of an older version has left out commits that this one can read."""
    (version,) = db.execute(
        "SELECT coalesce(max(value), ?) FROM meta WHERE name = 'newer'", (COMMIT_VERSION,)
    ).fetchone()
    return version < COMMIT_VERSION


class SessionRow(msgspec.Struct, frozen=True):
    """The number of a session's row and the sequence of the last commit that is in it; 0 and 0: there is no row."""

    number: int = 0
    seq: int = 0


class Tables:
    """`path` is a file; None keeps the tables in memory. `cells`: those whose sessions are in the tables.

    When SQLite cannot use the file, the tables are rebuilt empty, and the statement raises Unavailable. When the file
    cannot be written, as on a full disk, they are in memory from then on until the next start.
    """

    def __init__(self, path: Path | None, cells: Sequence[str]) -> None:
        self._path = path
        self._cells = tuple(cells)
        self._positions: dict[str, int] = {}
        self._behind = set(cells)
        self._session_rows: dict[str, SessionRow] = {}
        self.tombstones: dict[str, int] = {}
        """Deleted sessions whose tombstone is behind `position`, with its sequence."""
        self.caught_up = asyncio.Event()
        """Set when everything that was stored in all cells when this process started is in the tables."""
        self.builds = 0
        """Number of times that the tables were made empty; the projector starts again when it grows."""
        try:
            self._db = self._open()
        except (sqlite3.DatabaseError, OSError) as exc:
            _log.warning("read model unreadable; rebuilding it", error=str(exc))
            self._db = self._open_empty()

    # --- the file --------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path or ":memory:", isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=OFF")  # the file may be lost at any time
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION or _lacks_commits(db):
                for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
                    db.execute(f'DROP TABLE "{name}"')
                db.executescript(_SCHEMA)
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                self.builds += 1
            self._drop_other_cells(db)
            self._positions = dict(db.execute("SELECT name, position FROM cells").fetchall())
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db

    def _drop_other_cells(self, db: sqlite3.Connection) -> None:
        """Delete what is known of cells that are not served any more; if they are again, it is read again."""
        others = [name for (name,) in db.execute("SELECT name FROM cells").fetchall() if name not in self._cells]
        for cell in others:
            _log.info("sessions of a cell that is not served are removed from the read model", cell=cell)
            for table in ("commits", "calls"):
                sql = f"DELETE FROM {table} WHERE session IN (SELECT n FROM sessions WHERE cell = ?)"  # noqa: S608
                db.execute(sql, (cell,))
            db.execute("DELETE FROM sessions WHERE cell = ?", (cell,))
            db.execute("DELETE FROM cells WHERE name = ?", (cell,))

    def _open_empty(self) -> sqlite3.Connection:
        """Delete the file and open a new one; in memory if that fails too."""
        self._session_rows.clear()
        self.tombstones.clear()
        self._positions.clear()
        self._behind = set(self._cells)
        self.caught_up.clear()
        try:
            self._remove_file()
            return self._open()
        except (sqlite3.DatabaseError, OSError) as exc:
            _log.warning("read model kept in memory until the next start", error=str(exc))
            self._path = None
            return self._open()

    def _remove_file(self) -> None:
        """Raises OSError."""
        if self._path:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    def leave_out_newer(self) -> bool:
        """Note that a commit of a newer version is left out. True the first time.

        A process that knows a newer version then rebuilds the tables when it opens the file.
        """
        if self.execute("SELECT value FROM meta WHERE name = 'newer'"):
            return False
        self.execute("INSERT INTO meta VALUES ('newer', ?)", COMMIT_VERSION)
        return True

    def rebuild(self) -> None:
        """Empty the tables; the projector fills them again."""
        self._db.close()
        self._db = self._open_empty()

    def bind_to_streams(self, cell: str, stream_epoch: str) -> None:
        """Rebuild unless what is known of the cell was read from the streams with that epoch."""
        found = self.execute("SELECT stream_epoch FROM cells WHERE name = ?", cell)
        if found and found[0][0] not in ("", stream_epoch):
            _log.warning("the streams are new; rebuilding the read model", cell=cell)
            self.rebuild()
        sql = "INSERT INTO cells (name, stream_epoch) VALUES (?, ?) ON CONFLICT DO UPDATE SET stream_epoch = ?"
        self.execute(sql, cell, stream_epoch, stream_epoch)

    # --- how far the log of each cell has been read ------------------------------------------------------------------

    def position(self, cell: str) -> int:
        """Every commit of the log of the cell up to this stream sequence is in the tables."""
        return self._positions.get(cell, 0)

    def set_position(self, cell: str, seq: int) -> None:
        """Everything up to `seq` is in the tables now. Raises Unavailable."""
        sql = "INSERT INTO cells (name, position) VALUES (?, ?) ON CONFLICT DO UPDATE SET position = ?"
        self.execute(sql, cell, seq, seq)
        self._positions[cell] = seq
        kept = {session: at for session, at in self.tombstones.items() if cell_of(session) != cell or at > seq}
        self.tombstones = kept

    def catch_up(self, cell: str) -> None:
        """Everything that was stored in the cell when this process started is in the tables."""
        self._behind.discard(cell)
        if not self._behind:
            self.caught_up.set()

    def close(self) -> None:
        with contextlib.suppress(sqlite3.DatabaseError):  # what is lost is read from the log again
            self.commit()
        self._db.close()

    # --- statements ------------------------------------------------------------------------------------------------

    def execute(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of one statement. Raises Unavailable after a rebuild."""
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as exc:
            raise self._broken(exc) from exc

    def execute_many(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run one statement for each row of values. Raises Unavailable after a rebuild."""
        try:
            self._db.executemany(sql, rows)
        except sqlite3.DatabaseError as exc:
            raise self._broken(exc) from exc

    def _broken(self, exc: sqlite3.DatabaseError) -> Unavailable:
        if self._path and _is_unwritable(exc):
            # A new file would be full again after as many commits, and be built again and again.
            _log.warning("read model kept in memory until the next start", error=str(exc), file=str(self._path))
            with contextlib.suppress(OSError):  # gives its room back
                self._remove_file()
            self._path = None
        else:
            _log.exception("read model broken; rebuilding it")
        self.rebuild()
        return Unavailable("the read model is being rebuilt")

    def begin(self) -> None:
        """Open a transaction unless one is open. This connection sees what is in it; the projector commits it."""
        if not self._db.in_transaction:
            self.execute("BEGIN")

    def commit(self) -> None:
        if self._db.in_transaction:
            self.execute("COMMIT")

    # --- rows of sessions ------------------------------------------------------------------------------------------

    def session_row(self, key: Key) -> SessionRow:
        """The row of the session, from memory or from the table."""
        row = self._session_rows.get(key.session)
        if row is None:
            found = self.execute("SELECT n, seq FROM sessions WHERE id = ? AND tenant = ?", key.session, key.tenant)
            if len(self._session_rows) > MAX_CACHED_SESSION_ROWS:
                self._session_rows.clear()
            row = SessionRow(int(found[0][0]), int(found[0][1])) if found else SessionRow()
            self._session_rows[key.session] = row
        return row

    def remember_session_row(self, key: Key, row: SessionRow) -> None:
        self._session_rows[key.session] = row
