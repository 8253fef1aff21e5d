"""A message of the task queue: which task it is of, and what the task says. Pure."""

from collections.abc import Mapping

import msgspec

from holdfast.bus.ids import is_token
from holdfast.bus.streams import MAX_TASK_HEADER_BYTES
from holdfast.bus.subjects import UNNAMED, task_of
from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.gate import Message
from holdfast.session.tasks.parse import parse, sent_name
from holdfast.session.tasks.rejection import Rejected, malformed
from holdfast.session.tasks.task_ids import stored_name, task_id

PRIORITY = "holdfast-priority"
"""The header in lower case with which a publisher says that a task is `batch`; without it a task is `interactive`."""

_AGAIN = "again"
"""First token of the subject on which the session service alone publishes."""


class TaskMessage(msgspec.Struct, frozen=True, kw_only=True):
    """`stored_ns`: when it was stored, in nanoseconds since 1970."""

    task: str
    tenant: str
    kind: str
    origin: str
    """Names this message among all that were ever stored, for counting failures."""
    stored_ns: int
    event: TaskEvent | Rejected
    place_in_queue: Message
    """Which messages of its kind start before it."""


def read_message(
    subject: str,
    headers: Mapping[str, str],
    data: bytes,
    *,
    seq: int,
    stored_ns: int,
    task_header: str,
    header_bytes: int = 0,
) -> TaskMessage:
    """The message at that place of the stream. A task without a name is one of its own.

    `task_header` names a task that is sent again. It counts only where no publisher of tasks may publish.
    """
    first, tenant, kind = task_of(subject)
    named = {name.lower(): value for name, value in headers.items()}
    sent_id = named.get("nats-msg-id", "")
    event: TaskEvent | Rejected
    batch = False
    try:
        if header_bytes > MAX_TASK_HEADER_BYTES:
            raise malformed(f"the headers of the task are larger than {MAX_TASK_HEADER_BYTES} bytes")  # noqa: TRY301
        batch = is_batch(named.get(PRIORITY, ""))
        event = parse(named, data, name=sent_id if first != _AGAIN else "")
    except Rejected as exc:
        event = exc
    except Exception as exc:  # noqa: BLE001  what a publisher sends must not come again for ever
        event = Rejected("internal", f"the task could not be read: {type(exc).__name__}")
    name = event.name if isinstance(event, TaskEvent) else sent_name(sent_id)
    again = named.get(task_header.lower(), "") if first == _AGAIN else ""
    task = again if is_token(again) else task_id(tenant, kind, name or stored_name(stored_ns, seq))
    return TaskMessage(
        task=task,
        tenant=tenant,
        kind=kind,
        origin=f"{stored_ns}-{seq}",
        stored_ns=stored_ns,
        event=event,
        place_in_queue=Message(batch, stored_ns, seq, task),
    )


def is_batch(priority: str) -> bool:
    """Whether a task of that priority starts behind the others. Raises Rejected."""
    if priority not in ("", "batch", "interactive"):
        raise malformed("Holdfast-Priority: must be `batch` or `interactive`")
    return priority == "batch"


def refuse_no_token(message: TaskMessage) -> None:
    """Raise Rejected for a task under a tenant or a kind that is no token of ours."""
    if UNNAMED in (message.tenant, message.kind):
        raise malformed("subject: tenant and kind must be of letters, digits, `_` and `-`")
