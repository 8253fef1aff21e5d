"""What the delivery of a message does first, by the record of its task."""

import msgspec
import pytest
from msgspec.structs import replace

from holdfast.bus.errors import Newer
from holdfast.bus.records import decode_record
from holdfast.session.tasks.record import Action, TaskRecord, next_action

OPEN = TaskRecord(kind="k", state="open", session="sesn_a0_x", attempt=1)
DEAD = replace(OPEN, state="dead", died_ns=7, reason="unbound", letter=4)


@pytest.mark.parametrize(
    ("record", "stored_ns", "action"),
    [
        (None, 7, "open"),
        (OPEN, 7, "go on"),
        (replace(OPEN, died_ns=7), 6, "go on"),
        (replace(OPEN, state="done"), 7, "ack"),
        (DEAD, 6, "ack"),
        (DEAD, 7, "ack"),
        (DEAD, 8, "open"),
    ],
)
def test_next_action(record: TaskRecord | None, stored_ns: int, action: Action) -> None:
    assert next_action(record, stored_ns) == action


def test_a_record_of_a_newer_version_is_not_read() -> None:
    raw = msgspec.json.encode(DEAD)
    assert decode_record(TaskRecord, raw) == DEAD
    with pytest.raises(Newer):
        decode_record(TaskRecord, raw.replace(b'"v":1', b'"v":99'))
