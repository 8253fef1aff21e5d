"""What the delivery of a message does first, by the record of its task."""

import msgspec
import pytest
from msgspec.structs import replace

from holdfast.bus.errors import Newer
from holdfast.bus.records import decode_record
from holdfast.session.tasks.record import Action, TaskRecord, next_action

OPEN = TaskRecord(kind="k", state="open", session="sesn_a0_x", attempt=1)
DEAD = replace(OPEN, state="dead", origin="1-1", reason="unbound", letter=4)


@pytest.mark.parametrize(
    ("record", "origin", "action"),
    [
        (None, "1-1", "open"),
        (OPEN, "1-1", "go on"),
        (OPEN, "2-2", "go on"),
        (replace(OPEN, state="done"), "1-1", "ack"),
        (replace(OPEN, state="done"), "2-2", "ack"),
        (DEAD, "1-1", "ack"),
        (DEAD, "2-2", "open"),
    ],
)
def test_next_action(record: TaskRecord | None, origin: str, action: Action) -> None:
    assert next_action(record, origin) == action


def test_a_record_of_a_newer_version_is_not_read() -> None:
    raw = msgspec.json.encode(DEAD)
    assert decode_record(TaskRecord, raw) == DEAD
    with pytest.raises(Newer):
        decode_record(TaskRecord, raw.replace(b'"v":1', b'"v":99'))
