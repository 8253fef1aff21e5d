"""The record of requests keeps what tests ask for, and not all memory."""

from holdfast.scripted_model.journal import MAX_BODY_BYTES, Journal


def test_the_oldest_bodies_are_dropped_and_their_records_stay() -> None:
    journal = Journal(file=None)
    records = [journal.open("/v1/messages", float(n)) for n in range(5)]
    for record in records:
        journal.keep(record, {"number": record.number}, MAX_BODY_BYTES // 3)
    assert [record.body for record in journal.select()] == [None, None, *({"number": n} for n in (2, 3, 4))]
    large = journal.open("/v1/messages", 5.0)
    journal.keep(large, "large", MAX_BODY_BYTES * 2)
    assert [record.body for record in journal.select()] == [*[None] * 5, "large"], "the last one is kept in any case"
    journal.clear()
    again = journal.open("/v1/messages", 6.0)
    journal.keep(again, "again", MAX_BODY_BYTES)
    assert again.body == "again"


def test_requests_are_chosen_by_mark_and_status() -> None:
    journal = Journal(file=None)
    for status, marks in ((200, ["one"]), (400, ["one"]), (400, ["two"])):
        record = journal.open("/v1/messages", 0.0)
        record.status, record.marks = status, marks
    assert [r.number for r in journal.select("one")] == [0, 1]
    assert [r.number for r in journal.select(status=400)] == [1, 2]
    assert [r.number for r in journal.select("two", 400)] == [2]
    assert [r.number for r in journal.select()] == [0, 1, 2]
