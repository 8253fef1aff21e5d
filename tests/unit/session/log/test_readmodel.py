"""The read model: filled in any order of its two writers, and rebuilt whenever it cannot be used."""

import sqlite3
from pathlib import Path

import pytest

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored, commit
from holdfast.bus.errors import Unavailable
from holdfast.bus.head import Claim
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.readmodel.tables import SCHEMA_VERSION


def config(agent: str = "agent_1", first: str | None = None) -> ev.SessionConfig:
    return ev.SessionConfig(
        id=new_id("sevt"),
        tenant="t",
        agent={"id": agent, "version": 1},
        environment_id="env_1",
        environment={},
        primary_thread="sthr_1",
        first_input=first,
    )


def created(
    seq: int, *, first: str | None = None, at: int = 0, cell: str = FIRST_CELL
) -> tuple[Key, Stored, ev.SessionConfig]:
    made = config(first=first)
    return (
        Key("t", new_session_id(cell)),
        Stored(seq, commit(None, [made], by="test", new_id=new_id, now=at or seq * 1000)),
        made,
    )


def followed(before: Stored, seq: int, *events: ev.Event) -> Stored:
    return Stored(seq, commit(before, events, by="test", new_id=new_id, now=seq * 1000))


def model(path: Path | None = None) -> ReadModel:
    made = ReadModel(path, [FIRST_CELL])
    made.tables.caught_up.set()
    return made


def ids(found: ReadModel, *, ascending: bool = True) -> list[str]:
    return [row.id for row in found.queries.sessions([("tenant = ?", ["t"])], ascending=ascending, limit=100)]


def test_sessions_are_listed_in_order_and_know_their_last_commit() -> None:
    found = model()
    one, two = created(1), created(2)
    running = followed(one[1], 3, ev.SessionStatusRunning(id="a"))
    found.projection.apply(FIRST_CELL, [one, two, (one[0], running, None)])
    assert ids(found) == [one[0].session, two[0].session]
    assert ids(found, ascending=False) == [two[0].session, one[0].session]
    (row,) = found.queries.sessions([("id = ?", [one[0].session])], ascending=True, limit=2)
    assert row.head == running.commit.head
    assert found.queries.commits_below(one[0], 10, 5) == [3, 1]
    assert found.tables.position(FIRST_CELL) == 3


def test_an_older_commit_never_overwrites_a_newer_one() -> None:
    found = model()
    key, first, made = created(1)
    second = followed(first, 2, ev.SessionStatusTerminated(id="a"))
    found.projection.put(key, first, made)
    found.projection.put(key, second, None)
    found.projection.apply(FIRST_CELL, [(key, first, made)])
    (row,) = found.queries.sessions([("tenant = ?", ["t"])], ascending=True, limit=2)
    assert row.head.archived


def test_a_deleted_session_is_gone_and_stays_gone() -> None:
    found = model()
    key, first, made = created(1)
    end = followed(first, 2, ev.SessionDeleted(id="a"))
    found.projection.apply(FIRST_CELL, [(key, first, made)])
    found.projection.put(key, end, None)
    found.projection.apply(FIRST_CELL, [(key, end, None)])
    assert ids(found) == []
    assert found.queries.commits_below(key, 10, 5) == []


def test_an_incomplete_session_is_not_listed_until_it_is_complete() -> None:
    found = model()
    told, untold, taken = created(1, first="inp_1"), created(2, first="inp_2"), created(3, first="inp_3")
    found.projection.apply(FIRST_CELL, [told, untold, taken])
    assert ids(found) == []
    found.projection.put(told[0], told[1], None, complete=True)
    found.projection.apply(FIRST_CELL, [(taken[0], followed(taken[1], 4, ev.UserMessage(id="m", content=[])), None)])
    assert ids(found) == [told[0].session, taken[0].session]
    assert [row.id for row in found.queries.incomplete(10_000)] == [untold[0].session]
    assert found.queries.incomplete(2_000) == []


def test_custom_calls_are_known_even_when_they_lie_apart() -> None:
    found = model()
    key, first, made = created(1)
    calls = followed(
        first,
        2,
        ev.AgentCustomToolUse(id="c1", name="mine", input={}),
        ev.Blob(id="c2", of="agent.custom_tool_use", ref="r", size=1),
        ev.AgentToolUse(id="c3", name="bash", input={}),
    )
    found.projection.apply(FIRST_CELL, [(key, first, made), (key, calls, None)])
    assert found.queries.custom_calls(key, ["c1", "c2", "c3", "c4"]) == {"c1", "c2"}


def test_a_place_in_time_never_lies_behind_a_commit_of_that_time() -> None:
    found = model()
    key, first, made = created(1)
    second = followed(first, 2, *[ev.AgentMessage(id=f"m{n}", content=[]) for n in range(5)])
    third = followed(second, 3, ev.AgentMessage(id="z", content=[]))
    found.projection.apply(FIRST_CELL, [(key, first, made), (key, second, None), (key, third, None)])
    assert found.queries.last_before(key, 2_003) == 1
    assert found.queries.last_before(key, 500) == 0
    assert found.queries.last_before(key, 9_999) == 2


def test_nothing_is_listed_before_it_has_caught_up() -> None:
    with pytest.raises(Unavailable):
        ReadModel(None, [FIRST_CELL]).queries.sessions([], ascending=True, limit=1)


def test_it_is_kept_over_a_restart(tmp_path: Path) -> None:
    found = model(tmp_path / "data" / "r.sqlite")
    one = created(5)
    found.tables.bind_to_streams(FIRST_CELL, "streams")
    found.projection.apply(FIRST_CELL, [one])
    found.close()
    again = model(tmp_path / "data" / "r.sqlite")
    again.tables.bind_to_streams(FIRST_CELL, "streams")
    assert again.tables.position(FIRST_CELL) == 5
    assert ids(again) == [one[0].session]
    again.tables.bind_to_streams(FIRST_CELL, "others")
    assert (again.tables.position(FIRST_CELL), again.tables.caught_up.is_set()) == (0, False)
    again.close()


@pytest.mark.parametrize("harm", ["garbage", "schema", "cut"])
def test_a_file_that_cannot_be_used_is_made_anew(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "r.sqlite"
    found = model(path)
    found.projection.apply(FIRST_CELL, [created(n) for n in range(1, 200)])
    found.close()
    if harm == "garbage":
        path.write_bytes(b"no database" * 1000)
    elif harm == "schema":
        with sqlite3.connect(path) as db:
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
        db.close()
    else:
        path.write_bytes(path.read_bytes()[:100])
    again = model(path)
    assert again.tables.position(FIRST_CELL) == 0
    assert ids(again) == []
    again.close()


def test_a_file_that_breaks_in_use_is_made_anew_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    found = model(path)
    found.projection.apply(FIRST_CELL, [created(n) for n in range(1, 2000)])
    found_id = ids(found)[0]
    found.close()
    raw = bytearray(path.read_bytes())
    raw[12288:] = b"\xff" * (len(raw) - 12288)  # behind the schema and the tables that are read at the start
    path.write_bytes(raw)
    again = model(path)
    builds = again.tables.builds
    with pytest.raises(Unavailable):
        again.queries.commits_below(Key("t", found_id), 9_999, 10)
    assert again.tables.builds == builds + 1
    assert again.tables.position(FIRST_CELL) == 0
    again.close()


def test_a_session_deleted_before_the_projector_saw_it_never_shows_up() -> None:
    found = model()
    key, first, made = created(1)
    end = followed(first, 2, ev.SessionDeleted(id="a"))
    found.projection.put(key, first, made)
    found.projection.put(key, end, None)
    found.projection.apply(FIRST_CELL, [(key, first, made)])
    assert ids(found) == []
    found.projection.apply(FIRST_CELL, [(key, end, None)])
    assert ids(found) == []


def test_a_process_that_can_read_what_an_older_one_left_out_builds_the_tables_again(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    found = model(path)
    found.projection.apply(FIRST_CELL, [created(1)])
    assert found.tables.leave_out_newer(), "the first time"
    assert not found.tables.leave_out_newer()
    found.close()
    same = model(path)
    assert (same.tables.builds, same.tables.position(FIRST_CELL)) == (0, 1), "this version could not read more"
    same.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = value - 1 WHERE name = 'newer'")  # an older version wrote it
    db.close()
    later = model(path)
    assert (later.tables.builds, later.tables.position(FIRST_CELL)) == (1, 0)
    later.close()


def test_each_cell_has_a_position_of_its_own_and_lists_show_all_served_cells(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    found = ReadModel(path, ["a0", "a1"])
    old, new = created(500), created(3, cell="a1")
    found.projection.apply("a0", [old])
    found.tables.catch_up("a0")
    assert not found.tables.caught_up.is_set(), "the other cell was not read"
    found.projection.apply("a1", [new])
    found.tables.catch_up("a1")
    assert (found.tables.position("a0"), found.tables.position("a1")) == (500, 3)
    assert ids(found) == [new[0].session, old[0].session]
    assert [row.id for row in found.queries.claimed("a0")] == []
    found.close()
    again = ReadModel(path, ["a1", "a0"])
    assert (again.tables.position("a0"), again.tables.position("a1")) == (500, 3)
    again.close()


def test_a_deletion_is_remembered_until_the_position_of_its_own_cell_is_behind_it() -> None:
    found = ReadModel(None, ["a0", "a1"])
    key, first, made = created(1)
    end = followed(first, 2, ev.SessionDeleted(id="a"))
    found.projection.put(key, end, None)
    found.projection.apply("a1", [created(900, cell="a1")])
    found.projection.apply("a0", [(key, first, made)])
    assert found.queries.commits_below(key, 10, 5) == []
    found.tables.catch_up("a0")
    found.tables.catch_up("a1")
    assert key.session not in ids(found)


def test_what_is_known_of_a_cell_that_is_not_served_any_more_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    found = ReadModel(path, ["a0", "a1"])
    old, new = created(5), created(6, cell="a1")
    found.tables.bind_to_streams("a0", "one")
    found.projection.apply("a0", [old])
    found.projection.apply("a1", [new])
    found.close()
    without = ReadModel(path, ["a1"])
    without.tables.catch_up("a1")
    assert ids(without) == [new[0].session]
    assert without.queries.commits_below(old[0], 10, 5) == []
    assert (without.tables.position("a1"), without.tables.builds) == (6, 0), "the cell that stays is not read again"
    without.close()
    back = ReadModel(path, ["a0", "a1"])
    assert (back.tables.position("a0"), back.tables.position("a1")) == (0, 6), "it is read again from the start"
    back.tables.bind_to_streams("a0", "two")
    assert back.tables.builds == 0
    back.close()


def test_new_streams_of_one_cell_make_all_of_it_anew() -> None:
    found = ReadModel(None, ["a0", "a1"])
    found.tables.bind_to_streams("a0", "one")
    found.tables.bind_to_streams("a1", "two")
    found.projection.apply("a0", [created(5)])
    found.projection.apply("a1", [created(6, cell="a1")])
    builds = found.tables.builds
    found.tables.bind_to_streams("a1", "three")
    assert found.tables.builds == builds + 1
    assert (found.tables.position("a0"), found.tables.position("a1")) == (0, 0)


def test_tables_that_fill_the_disk_are_in_memory_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    found = model(path)
    found.tables.execute("PRAGMA max_page_count = 40")  # SQLite reports the full disk itself
    one = [created(n) for n in range(1, 2000)]
    with pytest.raises(Unavailable):
        found.projection.apply(FIRST_CELL, one)
    assert list(tmp_path.iterdir()) == [], "the room is given back"
    assert not found.tables.caught_up.is_set()
    found.projection.apply(FIRST_CELL, one)
    found.tables.catch_up(FIRST_CELL)
    assert len(ids(found)) == 100
    assert list(tmp_path.iterdir()) == []
    found.close()


def test_a_folder_that_cannot_be_made_leaves_the_tables_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    found = model(tmp_path / "file" / "r.sqlite")
    found.projection.apply(FIRST_CELL, [created(1)])
    assert len(ids(found)) == 1
    found.close()


def test_only_claims_without_a_recent_commit_are_stale() -> None:
    found = model()
    old, recent, idle = created(1, at=1_000), created(2, at=50_000), created(3, at=1_000)
    found.projection.apply(FIRST_CELL, [old, recent, idle])
    updated: list[int] = []
    for seq, (key, first, _) in enumerate((old, recent), start=10):
        made = commit(first, [], by="test", new_id=new_id, now=0, claim=Claim(id="clm", by="h", trigger=1))
        found.projection.put(key, Stored(seq, made), None)
        updated.append(made.head.updated)
    assert found.queries.stale(FIRST_CELL, updated[0]) == []
    assert [row.id for row in found.queries.stale(FIRST_CELL, updated[0] + 1)] == [old[0].session]
    assert [row.id for row in found.queries.stale(FIRST_CELL, updated[1])] == [old[0].session]
    assert len(found.queries.stale(FIRST_CELL, updated[1] + 1)) == 2
    assert found.queries.stale("a1", updated[1] + 1) == []
    found.close()
