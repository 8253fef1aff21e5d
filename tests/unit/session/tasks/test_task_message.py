"""Which task a message is of: by its name, by its place, or by the session service itself."""

from collections.abc import Mapping

from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.gate import Message
from holdfast.session.tasks.rejection import Rejected
from holdfast.session.tasks.task_message import TaskMessage, read_message


def message(
    subject: str = "task.t.k", headers: Mapping[str, str] | None = None, data: bytes = b"{}", seq: int = 1
) -> TaskMessage:
    return read_message(subject, headers or {}, data, seq=seq, stored_ns=5_000_000_000, task_header="Holdfast-Task")


def test_a_named_task_is_the_same_wherever_it_is_stored() -> None:
    one = message(headers={"Nats-Msg-Id": "17"})
    assert one.task == message(headers={"nats-msg-id": "17"}, seq=2).task
    assert one.task != message("task.t.other", headers={"Nats-Msg-Id": "17"}).task
    assert one.task != message("task.u.k", headers={"Nats-Msg-Id": "17"}).task
    assert (one.tenant, one.kind, one.origin, one.stored_ns) == ("t", "k", "5000000000-1", 5_000_000_000)
    assert isinstance(one.event, TaskEvent)


def test_a_task_without_a_name_is_one_of_its_own() -> None:
    assert message(seq=1).task != message(seq=2).task
    assert message(seq=1).task == message(seq=1).task


def test_a_malformed_message_has_the_name_that_a_mended_one_would_have() -> None:
    broken = message(headers={"Nats-Msg-Id": "17"}, data=b"{")
    assert isinstance(broken.event, Rejected)
    assert broken.task == message(headers={"Nats-Msg-Id": "17"}).task
    assert message(data=b"{", seq=1).task != message(data=b"{", seq=2).task


def test_only_the_subject_of_the_service_may_say_which_task_it_is() -> None:
    named = {"Holdfast-Task": "task_1"}
    assert message("again.t.k", named).task == "task_1"
    assert message("task.t.k", named).task != "task_1"
    assert message("again.t.k", {"Holdfast-Task": "a.b"}).task != "a.b"


def test_a_publisher_says_that_a_task_may_wait_for_others() -> None:
    urgent, other = message(seq=9), message(headers={"Holdfast-Priority": "batch"}, seq=2)
    assert urgent.place_in_queue == Message(False, 5_000_000_000, 9, urgent.task)
    assert urgent.place_in_queue < other.place_in_queue == Message(True, 5_000_000_000, 2, other.task)
    assert message(headers={"holdfast-priority": "interactive"}).place_in_queue.batch is False
    wrong = message(headers={"Holdfast-Priority": "high"})
    assert isinstance(wrong.event, Rejected)
    assert (wrong.event.reason, "Holdfast-Priority" in wrong.event.message) == ("malformed", True)
    assert wrong.place_in_queue.batch is False


def test_tokens_that_are_none_of_ours_become_the_reserved_one() -> None:
    assert (message("task.t.a$b").tenant, message("task.t.a$b").kind) == ("t", "_invalid")
    assert message("task.a$b.k").tenant == "_invalid"


def test_headers_that_no_dead_letter_could_hold_are_malformed() -> None:
    got = read_message("task.t.k", {}, b"{}", seq=1, stored_ns=1, task_header="Holdfast-Task", header_bytes=50_000)
    assert isinstance(got.event, Rejected)
    assert got.event.reason == "malformed"
