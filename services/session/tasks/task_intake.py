"""Takes tasks that a sender hands to this service itself, over HTTP or by a NATS request, and stores them in the queue.

A mistake that the sender has to mend is an answer. What an operator has to mend, such as a template, becomes a dead
letter, so that it can be sent again afterwards.
"""

from collections.abc import Mapping
from typing import Final

from holdfast.bus.errors import InboxFull, StorageFull
from holdfast.bus.ids import new_id
from holdfast.bus.jetstream.tasks import NatsTasks, header_bytes
from holdfast.bus.streams import MAX_TASK_HEADER_BYTES
from holdfast.process.faults import point
from holdfast.session.http.errors import ApiError, invalid
from holdfast.session.tasks.binding_store import BindingStore
from holdfast.session.tasks.bindings import Binding
from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.parse import GITHUB_TYPE, sent_name
from holdfast.session.tasks.plan import wants, working
from holdfast.session.tasks.rejection import Rejected
from holdfast.session.tasks.task_answers import TaskAnswers
from holdfast.session.tasks.task_ids import task_id
from holdfast.session.tasks.task_message import PRIORITY, is_batch
from holdfast.session.tasks.task_result import TaskResult, ignored

KEPT_HEADERS: Final = ("content-type", GITHUB_TYPE, PRIORITY)
"""Headers that say what a task is, beside those of CloudEvents. No other is stored: some hold keys."""

MAX_WAIT_S: Final = 600

WAIT_HEADER: Final = "holdfast-wait"


class TaskIntake:
    def __init__(self, tasks: NatsTasks, bindings: BindingStore, answers: TaskAnswers) -> None:
        self._tasks = tasks
        self._bindings = bindings
        self._answers = answers

    async def bound(self, tenant: str, kind: str) -> Binding:
        """The binding of the kind. Raises ApiError 404 without one, BusError."""
        found = working(await self._bindings.newest(tenant, kind))
        if isinstance(found, Rejected):
            raise ApiError(404, "not_found_error", found.message)
        return found

    async def take(
        self,
        tenant: str,
        binding: Binding,
        event: TaskEvent,
        headers: Mapping[str, str],
        body: bytes,
        *,
        start_s: float,
        end_s: float,
    ) -> TaskResult:
        """Store the task, unless its binding does not want it, and tell what became of it. The waits as in TaskAnswers.

        `headers` are those of `kept`. Raises ApiError 429 while too many tasks wait, 400; BusError.
        """
        kind = binding.kind
        if not wants(binding, event):
            return ignored(kind)
        try:
            is_batch(headers.get(PRIORITY, ""))
        except Rejected as exc:
            raise refusal(exc) from None
        if header_bytes(headers) > MAX_TASK_HEADER_BYTES:
            raise invalid(f"the headers of the task are larger than {MAX_TASK_HEADER_BYTES} bytes")
        task = task_id(tenant, kind, event.name or sent_name(new_id("sent")))
        known = await self._answers.before(tenant, task)
        try:
            await self._tasks.publish(tenant, kind, task, headers, body)
        except (InboxFull, StorageFull):
            raise _too_many() from None
        point("task.stored")
        return await self._answers.after(tenant, kind, task, known, start_s=start_s, end_s=end_s)


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, their names in lower case, that say what the task is."""
    return {name: value for name, value in headers.items() if name in KEPT_HEADERS or name.startswith("ce-")}


def wait_of(headers: Mapping[str, str]) -> int:
    """Seconds for which the sender waits for the end of the turn, 0 without the header. Raises ApiError 400."""
    given = headers.get(WAIT_HEADER, "0")
    if not given.isascii() or not given.isdigit() or len(given) > 4 or int(given) > MAX_WAIT_S:
        raise invalid(f"{WAIT_HEADER}: must be seconds, at most {MAX_WAIT_S}")
    return int(given)


def refusal(why: Rejected) -> ApiError:
    """The answer for a task that its sender has to mend."""
    return invalid(why.message)


def _too_many() -> ApiError:
    text = "too many tasks wait to be carried out; send it again in a while"
    return ApiError(429, "rate_limit_error", text, {"error_code": "too_many_tasks"})
