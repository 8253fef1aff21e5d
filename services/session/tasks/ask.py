"""Answers tasks that are sent as NATS requests on `ask.<tenant>.<kind>`.

The answer names the session that gets the task; for those who wait for it, it tells how the turn has ended.
"""

from typing import Final

import msgspec
import structlog

from holdfast.bus.errors import BusError
from holdfast.bus.ids import new_id
from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.subjects import UNNAMED, task_of
from holdfast.process.tracebacks import places
from holdfast.session.events.disk_space import DiskSpaceCheck
from holdfast.session.http import errors
from holdfast.session.http.body import UNCHARGED_BODY_BYTES, BodyBudget
from holdfast.session.http.errors import ApiError, invalid
from holdfast.session.tasks.parse import MAX_TASK_BYTES, checked_name, parse
from holdfast.session.tasks.rejection import Rejected
from holdfast.session.tasks.task_intake import TaskIntake, kept, refusal, wait_of
from holdfast.session.tasks.task_result import TaskResult

START_WITHIN_S: Final = 10.0
"""Seconds after which a request is answered though no session has got its task yet."""

MAX_REQUESTS: Final = 1_000
"""Requests that one replica answers at once, those that wait among them."""

BODIES_BYTES: Final = 64 * 1024 * 1024
"""Bytes of their bodies, beyond the first 64 KiB of each."""

_log = structlog.get_logger()


class TaskRequestHandler:
    def __init__(self, intake: TaskIntake, disk: DiskSpaceCheck) -> None:
        self._intake = intake
        self._disk = disk
        self._room = BodyBudget(BODIES_BYTES)
        self._count = 0

    async def answer(self, request: RawMessage) -> bytes:
        """The answer as JSON: a TaskResult, or the error envelope of the API."""
        return msgspec.json.encode(await self._answer(request))

    async def _answer(self, request: RawMessage) -> TaskResult | errors.ErrorResponse:
        request_id, size = new_id("req"), max(0, len(request.data) - UNCHARGED_BODY_BYTES)
        try:
            if self._count >= MAX_REQUESTS:
                raise errors.busy()
            self._room.charge(size)
        except ApiError as exc:
            return errors.envelope(exc, request_id)
        self._count += 1
        try:
            return await self._take(request)
        except ApiError as exc:
            return errors.envelope(exc, request_id)
        except Rejected as exc:
            return errors.envelope(refusal(exc), request_id)
        except BusError as exc:
            _log.warning("a request for a task failed at the bus", request_id=request_id, cause=str(exc))
            return errors.envelope(errors.of_bus(exc), request_id)
        except Exception as exc:  # noqa: BLE001  a fault of ours is an answer too
            _log.error("a request for a task failed", request_id=request_id, at=places(exc))
            return errors.envelope(errors.internal(), request_id)
        finally:
            self._count -= 1
            self._room.refund(size)

    async def _take(self, request: RawMessage) -> TaskResult:
        _, tenant, kind = task_of(request.subject)
        if UNNAMED in (tenant, kind):
            raise invalid("subject: tenant and kind must be of letters, digits, `_` and `-`")
        if len(request.data) > MAX_TASK_BYTES:
            raise errors.too_large(MAX_TASK_BYTES)
        if self._disk.is_full():
            raise errors.storage_full("the disk of this stack is full")
        headers = {name.lower(): value for name, value in request.headers.items()}
        wait_s = wait_of(headers)
        binding = await self._intake.bound(tenant, kind)
        event = parse(kept(headers), request.data, name=checked_name(headers.get("nats-msg-id", "")))
        return await self._intake.take(
            tenant, binding, event, kept(headers), request.data, start_s=START_WITHIN_S, end_s=wait_s
        )
