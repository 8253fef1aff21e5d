"""Commits of the log into rows of the read model."""

from collections.abc import Sequence
from typing import Final

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.ids import Key
from holdfast.session.log.readmodel.tables import SessionRow, Tables

_CUSTOM_CALL_TYPE: Final = str(ev.AgentCustomToolUse.__struct_config__.tag)


class Projection:
    """Two writers call it in any order: the projector with every commit, and handlers with what they append."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def apply(self, cell: str, batch: Sequence[tuple[Key, Stored, ev.SessionConfig | None]]) -> None:
        """Every commit of the cell behind `position`, in order, with the configuration it brings. Raises Unavailable.

        Of a session with several commits in the batch only the last is written to its row.
        """
        tables = self._tables
        tables.begin()
        last: dict[Key, tuple[Stored, ev.SessionConfig | None]] = {}
        for key, stored, config in batch:
            before = last.get(key)
            last[key] = (stored, config or (before[1] if before else None))
        for key, (stored, config) in last.items():
            self.put(key, stored, config)
        position = tables.position(cell)
        commits: list[tuple[int, int, int]] = []
        calls: list[tuple[int, str]] = []
        for key, stored, _ in batch:
            number = tables.session_row(key).number
            if number:
                commits.append((number, stored.seq, stored.commit.at))
                calls += [(number, event.id) for event in stored.commit.events if _is_custom_call(event)]
            position = stored.seq
        tables.execute_many("INSERT OR REPLACE INTO commits VALUES (?, ?, ?)", commits)
        tables.execute_many("INSERT OR IGNORE INTO calls VALUES (?, ?)", calls)
        tables.set_position(cell, position)
        tables.commit()

    def put(self, key: Key, stored: Stored, config: ev.SessionConfig | None, *, complete: bool = False) -> None:
        """Write the session as it is after that commit, unless a later one is known. Raises Unavailable.

        `config` None: the configuration is what it was. `complete` says that the creation was answered; until then, or
        until the first input is taken, a session with a first input is incomplete and not listed (`sessions.create`).
        """
        tables = self._tables
        tables.begin()
        head, row = stored.commit.head, tables.session_row(key)
        if head.deleted:
            self._delete(key, row, stored.seq)
        elif stored.seq <= max(row.seq, tables.tombstones.get(key.session, 0)):
            if complete:
                tables.execute("UPDATE sessions SET incomplete = 0 WHERE n = ?", row.number)
        else:
            incomplete = not complete and head.count == 1
            number = self._write(key, row.number, stored, config, incomplete=incomplete)
            tables.remember_session_row(key, SessionRow(number, stored.seq if number else 0))

    def _write(
        self, key: Key, number: int, stored: Stored, config: ev.SessionConfig | None, *, incomplete: bool
    ) -> int:
        """Write the row of a session and return its number; 0 when nothing is known of it but this commit."""
        execute = self._tables.execute
        head = stored.commit.head
        flags = (head.status, int(bool(head.archived)), int(bool(head.claim)))
        state = (*flags, stored.seq, head.updated, msgspec.json.encode(head))
        if config is None:
            if number:
                sql = (
                    "UPDATE sessions SET status=?, archived=?, claimed=?, seq=?, updated=?, head=?,"
                    " incomplete=min(incomplete, ?) WHERE n=?"
                )
                execute(sql, *state, int(incomplete), number)
            return number
        incomplete = incomplete and bool(config.first_input)
        agent = (str(config.agent["id"]), int(config.agent["version"]), msgspec.json.encode(config), int(incomplete))
        if number:
            sql = (
                "UPDATE sessions SET status=?, archived=?, claimed=?, seq=?, updated=?, head=?, agent=?, version=?,"
                " config=?, incomplete=min(incomplete, ?) WHERE n=?"
            )
            execute(sql, *state, *agent, number)
            return number
        sql = (
            "INSERT INTO sessions (id, tenant, cell, created, status, archived, claimed, seq, updated, head, agent,"
            " version, config, incomplete) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING n"
        )
        return int(execute(sql, key.session, key.tenant, key.cell, head.created, *state, *agent)[0][0])

    def _delete(self, key: Key, row: SessionRow, seq: int) -> None:
        tables = self._tables
        if row.number:
            for table, column in (("sessions", "n"), ("commits", "session"), ("calls", "session")):
                tables.execute(f"DELETE FROM {table} WHERE {column} = ?", row.number)  # noqa: S608  our own names
        if seq > tables.position(key.cell):
            tables.tombstones[key.session] = seq
        tables.remember_session_row(key, SessionRow())


def _is_custom_call(event: ev.Event) -> bool:
    return (event.of if isinstance(event, ev.Blob) else ev.type_of(event)) == _CUSTOM_CALL_TYPE
