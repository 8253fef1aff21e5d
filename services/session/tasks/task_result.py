"""What the sender of a task is told of it. Pure."""

from typing import Literal

import msgspec

from holdfast.session.tasks.record import TaskRecord


class TaskResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a task so far.

    `state`: open (stored; it will be carried out), done (its session has got it), dead (it could not be carried out:
    `reason` and `message` say why), ignored (its binding does not want it, and nothing was stored). `stop_reason` and
    `text` are those of the turn, for senders that wait for its end: why the session rests, and the last message of the
    agent. They are null while the turn goes on.
    """

    type: Literal["task_result"]
    task_id: str | None
    kind: str
    state: Literal["open", "done", "dead", "ignored"]
    session_id: str | None
    reason: str | None
    message: str | None
    stop_reason: str | None
    text: str | None


def ignored(kind: str) -> TaskResult:
    """Of a task that its binding does not want."""
    return TaskResult(
        type="task_result", task_id=None, kind=kind, state="ignored", session_id=None, reason=None, message=None,
        stop_reason=None, text=None,
    )  # fmt: skip


def result_of(
    task_id: str, kind: str, record: TaskRecord | None, *, stop_reason: str | None = None, text: str | None = None
) -> TaskResult:
    """Of a task that is stored, by its record if it has one that counts."""
    is_dead = record is not None and record.state == "dead"
    return TaskResult(
        type="task_result",
        task_id=task_id,
        kind=kind,
        state=record.state if record else "open",
        session_id=(record.session or None) if record else None,
        reason=record.reason if record and is_dead else None,
        message=record.message if record and is_dead else None,
        stop_reason=stop_reason,
        text=text,
    )
