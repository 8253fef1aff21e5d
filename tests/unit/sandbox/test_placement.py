"""Which calls may run, and stored placements that cannot be read."""

import pytest

from holdfast.bus.head import Call, Head
from holdfast.sandbox.placement import Placement, WorkerRecord, admission, encode, placement_of, worker_record_of

OPEN = Head(
    calls=(Call("c1", "bash", "ready", "g1"), Call("c2", "bash", "ask", "g1"), Call("c3", "bash", "ready", "g0"))
)


@pytest.mark.parametrize(
    ("head", "call", "name", "answer"),
    [
        (OPEN, "c1", "bash", "run"),
        (OPEN, "c1", "write", "no"),
        (OPEN, "c2", "bash", "unknown"),
        (OPEN, "c3", "bash", "unknown"),
        (OPEN, "c4", "bash", "unknown"),
        (None, "c1", "bash", "unknown"),
        (Head(calls=OPEN.calls, archived=1), "c1", "bash", "no"),
        (Head(calls=OPEN.calls, deleted=1), "c1", "bash", "no"),
    ],
)
def test_only_an_open_ready_call_of_this_generation_is_admitted(
    head: Head | None, call: str, name: str, answer: str
) -> None:
    assert admission(head, call, name, "g1") == answer


def test_an_emptied_placement_still_names_the_host() -> None:
    assert Placement(generation="g", worker="w", host="h").emptied() == Placement(host="h")


def test_a_registration_that_cannot_be_read_is_of_no_hand() -> None:
    assert worker_record_of(encode(WorkerRecord(hand="sandbox", host="h"))) == WorkerRecord(hand="sandbox", host="h")
    assert worker_record_of(None) == worker_record_of(b"{") == WorkerRecord()


def test_an_unreadable_placement_counts_as_none() -> None:
    assert placement_of(None) == placement_of(b"") == placement_of(b"{") == Placement()
