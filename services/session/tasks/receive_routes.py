"""`POST /v1/tasks/{kind}`: a task over HTTP, with an API key or signed as webhooks are."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from holdfast.bus.ids import is_token
from holdfast.bus.jetstream.permissions import FIRST_TENANT
from holdfast.session.http.errors import invalid, unauthenticated
from holdfast.session.http.json_body import ON_LOOP_BYTES
from holdfast.session.http.routing import Call, Route
from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.parse import MAX_TASK_BYTES, checked_name, parse
from holdfast.session.tasks.rejection import Rejected
from holdfast.session.tasks.signatures import BadSignature, verify
from holdfast.session.tasks.signed_kinds import SignedKind, SignedKinds
from holdfast.session.tasks.task_intake import TaskIntake, kept, refusal, wait_of
from holdfast.session.tasks.task_result import TaskResult
from holdfast.session.tasks.webhooks import webhook_event

PATH: Final = "/v1/tasks/{task}"
"""The parameter is the kind. It has the name of that of other methods, as OpenAPI takes both for one path."""

NAME_HEADER: Final = "idempotency-key"
"""Names a task that is sent with an API key, as `Nats-Msg-Id` does over NATS."""

SECOND_US: Final = 1_000_000

_log = structlog.get_logger()


class ReceiveQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tenant` only without an API key, which has one: that of the binding, `default` if it is left out."""

    tenant: str | None = None


class ReceiveHandlers:
    """`now` is the clock, in microseconds since 1970."""

    def __init__(self, intake: TaskIntake, kinds: SignedKinds, now: Callable[[], int]) -> None:
        self._intake = intake
        self._kinds = kinds
        self._now = now

    async def send(self, call: Call) -> TaskResult:
        """Send a task of a kind. With a key that may read, `Holdfast-Wait: 30` waits for the end of its turn."""
        headers = {name.lower(): value for name, value in call.request.headers.items()}
        if not call.tenant:
            return await self._signed(call, headers)
        if call.query.tenant not in (None, call.tenant):
            raise invalid("tenant: the API key is of another tenant")
        wait_s, size = wait_of(headers), len(call.body)
        if wait_s:
            call.caller.check("read")  # the answer has a text of the session
        binding = await self._intake.bound(call.tenant, call.id("task"))
        event = await _read(
            lambda: parse(kept(headers), call.body, name=checked_name(headers.get(NAME_HEADER, ""))), size
        )
        return await self._intake.take(call.tenant, binding, event, kept(headers), call.body, start_s=0, end_s=wait_s)

    async def _signed(self, call: Call, headers: dict[str, str]) -> TaskResult:
        tenant, kind = call.query.tenant or FIRST_TENANT, call.path["task"]
        found = await self._kinds.get(tenant, kind) if is_token(tenant) and is_token(kind) else None
        if found is None or not self._is_genuine(found, headers, call.body):
            raise unauthenticated()
        assert found.binding.config.signature
        scheme = found.binding.config.signature.scheme
        event = await _read(lambda: webhook_event(scheme, headers, call.body), len(call.body))
        return await self._intake.take(tenant, found.binding, event, kept(headers), call.body, start_s=0, end_s=0)

    def _is_genuine(self, found: SignedKind, headers: dict[str, str], body: bytes) -> bool:
        signature = found.binding.config.signature
        assert signature
        try:
            verify(signature, headers, body, found.secrets, now=self._now() // SECOND_US)
        except BadSignature as exc:
            _log.warning("a webhook was refused", kind=found.binding.kind, cause=str(exc))
            return False
        return True


async def _read(parsed: Callable[[], TaskEvent], size: int) -> TaskEvent:
    """The event. A large body is read in a thread. Raises ApiError 400."""
    try:
        return parsed() if size <= ON_LOOP_BYTES else await asyncio.to_thread(parsed)
    except Rejected as exc:
        raise refusal(exc) from None


def routes(intake: TaskIntake, kinds: SignedKinds, now: Callable[[], int]) -> list[Route]:
    handlers = ReceiveHandlers(intake, kinds, now)
    return [
        Route(
            method="POST", path=PATH, handle=handlers.send, query=ReceiveQuery, answer=TaskResult,
            signed=True, access="publish", raw_limit=MAX_TASK_BYTES,
        )
    ]  # fmt: skip
