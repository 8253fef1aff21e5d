"""Ids of tasks: the same for the same task, different for every other one, and in the form of all our ids."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from holdfast.bus.ids import cell_of, is_token, new_id, time_of
from holdfast.session.tasks.task_ids import ids_of, session_key_hash, stored_name, task_id

NOW = 1_795_000_000_123_000
TOKEN = st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True)


@given(tenant=TOKEN, kind=TOKEN, name=st.text())
def test_a_task_id_is_a_token_of_one_length_and_stays_the_same(tenant: str, kind: str, name: str) -> None:
    made = task_id(tenant, kind, name)
    assert is_token(made)
    assert len(made) == len(new_id("task"))
    assert made == task_id(tenant, kind, name)


def test_tenant_kind_and_name_tell_tasks_apart() -> None:
    parts = ("a", "b", "a.b", "", '","', "ab")
    assert len({task_id(*three) for three in product(parts, repeat=3)}) == len(parts) ** 3
    assert stored_name(1, 12) != stored_name(11, 2)


def test_what_a_task_creates_is_the_same_at_each_try() -> None:
    first = ids_of("task_1", 1, cell="a0", stored_at=NOW)
    assert first == ids_of("task_1", 1, cell="a0", stored_at=NOW)
    assert cell_of(first.session) == "a0"
    ids = (first.session, first.thread, first.config, first.input, first.event)
    assert [made.rpartition("_")[0] for made in ids] == ["sesn_a0", "sthr", "sevt", "inp", "sevt"]
    assert {time_of(made) for made in ids} == {NOW // 1000 * 1000}
    assert len({made[-26:] for made in ids}) == 5


def test_another_attempt_creates_something_else() -> None:
    first, second = (ids_of("task_1", attempt, cell="a0", stored_at=NOW) for attempt in (1, 2))
    other = ids_of("task_2", 1, cell="a0", stored_at=NOW)
    made = [f for ids in (first, second, other) for f in (ids.session, ids.thread, ids.config, ids.input, ids.event)]
    assert len(set(made)) == 15


def test_derived_ids_sort_by_time_among_all_others() -> None:
    early, late = (ids_of("task_1", 1, cell="a0", stored_at=at).session for at in (NOW, NOW + 1000))
    assert early < late
    now = time_of(new_id("sesn_a0")) or 0
    assert ids_of("task_1", 1, cell="a0", stored_at=now - 1000).session < new_id("sesn_a0")
    assert ids_of("task_1", 1, cell="a0", stored_at=now + 60_000_000).session > new_id("sesn_a0")


def test_the_hash_of_a_session_key_is_a_token() -> None:
    assert is_token(session_key_hash("repo.name/ü 1"))
    assert session_key_hash("1") != session_key_hash("2")
