"""A watch tells each change once, and never an older one after a newer one."""

from holdfast.bus.api import Entry
from holdfast.bus.jetstream.watched import Watched


def test_a_deleted_key_stays_dead_when_a_replica_that_lags_lists_it() -> None:
    told = Watched()
    assert told.is_news(Entry("k", b"1", 5))
    assert told.is_news(Entry("k", None, 7))
    assert not told.is_news(Entry("k", b"1", 5)), "what a replica that lags lists"
    assert told.present == {}
    assert not told.is_news(Entry("k", None, 7))
    assert told.is_news(Entry("k", b"2", 9)), "made again"
    assert told.present == {"k": 9}


def test_a_deletion_that_comes_before_the_first_list_holds_against_the_list() -> None:
    told = Watched()
    assert not told.is_news(Entry("k", None, 7)), "nobody was told that it exists"
    assert not told.is_news(Entry("k", b"1", 5))


def test_each_revision_is_told_once() -> None:
    told = Watched()
    assert [told.is_news(Entry("k", b"1", revision)) for revision in (5, 5, 4, 6)] == [True, False, False, True]


def test_a_key_that_expired_without_a_message_can_be_made_again_at_the_next_revision() -> None:
    told = Watched()
    told.is_news(Entry("k", b"1", 5))
    assert told.is_news(Entry("k", None, 6)), "the leader has no such key"
    assert told.is_news(Entry("k", b"2", 6)), "made by the next message of the bucket"


def test_the_oldest_deletions_are_forgotten() -> None:
    told = Watched(remembered_deletions=2)
    for number, key in enumerate("abc"):
        told.is_news(Entry(key, None, 10 + number))
    assert told.is_news(Entry("a", b"", 1))
    assert not told.is_news(Entry("c", b"", 1))
