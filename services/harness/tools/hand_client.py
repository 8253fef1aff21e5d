"""Requests to the workers that hold the hands of a session: provision, execute, probe, cancel (rules 12, 13, 15, 18).

The answer to `execute` has the result of a call that ends soon; the others arrive in the session's inbox.
"""

from typing import Any, Final, Literal, TypeVar

import msgspec

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Answer, Cancel, Confirm, Execute, Probe, Provision, Provisioned
from holdfast.bus.errors import BusError, Damaged, NoResponders, Refused
from holdfast.bus.head import Call, Hand
from holdfast.bus.ids import Key, is_token
from holdfast.bus.inputs import CallResult
from holdfast.bus.records import decode_record

WORKER_TIMEOUT_S: Final = 2.0
"""Time to wait for a worker's reply to `execute` and `cancel`."""

PROBE_TIMEOUT_S: Final = 0.3
"""Time to wait for a worker's reply to `probe`, which needs no work."""

PROVISION_TIMEOUT_S: Final = 3.0
"""Time to wait for a hand before it is requested again, because its worker may have died. Two requests make one."""

WorkerReply = Literal["accepted", "result", "refused", "cancelled", "gone", "done", "silent"]
"""`gone`: no worker has that generation any more. `silent`: no reply came in time."""

T = TypeVar("T", bound=msgspec.Struct)


class ExecuteReply(msgspec.Struct, frozen=True):
    """The reply to `execute`, with the result of the call if the reply is `result`."""

    reply: WorkerReply
    result: CallResult | None = None


class HandClient:
    """Sends the requests of one session."""

    def __init__(self, bus: Bus, key: Key) -> None:
        self._bus = bus
        self._key = key

    async def provision(self, hand: str, *, log_seq: int) -> Provisioned:
        """That hand of the session; it is made if there is none. Raises NoResponders, Unavailable, Refused.

        Its kind is its name: a session has one hand of a kind. `log_seq` is the sequence of the last commit known.
        The workers that a worker names when it declines are asked in turn (rule 12).
        """
        message = Provision(tenant=self._key.tenant, session=self._key.session, hand=hand, log_seq=log_seq)
        first = await self._provision(subjects.provision(self._key.cell, hand), message)
        for worker in filter(is_token, first.ask):
            try:
                reply = await self._provision(subjects.provision_at(self._key.cell, worker), message)
            except BusError:
                continue  # it has ended, or its sandbox is found in the placement by the worker that is asked next
            if not reply.declined:
                return reply
        return first

    async def _provision(self, subject: str, message: Provision) -> Provisioned:
        raw = await self._bus.core.request(subject, msgspec.json.encode(message), timeout=PROVISION_TIMEOUT_S)
        return _decoded(raw, Provisioned)

    async def execute(self, hand: Hand, call: Call, arguments: dict[str, Any], *, log_seq: int) -> ExecuteReply:
        """Run the call in that generation. Safe to repeat: a worker runs a call once."""
        message = Execute(
            tenant=self._key.tenant,
            session=self._key.session,
            call=call.id,
            generation=hand.generation,
            name=call.name,
            input=arguments,
            log_seq=log_seq,
        )
        answer = await self._request(subjects.execute(self._key.cell, hand.worker), msgspec.json.encode(message))
        if not isinstance(answer, Answer):
            return ExecuteReply(answer)
        if answer.answer != "result":
            return ExecuteReply(answer.answer)
        result = CallResult(
            id=call.id,
            generation=hand.generation,
            content=answer.content,
            is_error=answer.is_error,
            lost=answer.lost,
        )
        return ExecuteReply("result", result)

    async def confirm(self, worker: str, call_id: str, generation: str) -> None:
        """Tell the worker that the result of its answer is in the log; best effort."""
        message = Confirm(tenant=self._key.tenant, session=self._key.session, call=call_id, generation=generation)
        await self._bus.core.publish(subjects.confirm(self._key.cell, worker), msgspec.json.encode(message))

    async def probe(self, hand: Hand) -> WorkerReply:
        """Whether that generation lives: `accepted` or `gone`."""
        message = Probe(tenant=self._key.tenant, session=self._key.session, generation=hand.generation)
        subject = subjects.probe(self._key.cell, hand.worker)
        return _reply(await self._request(subject, msgspec.json.encode(message), timeout_s=PROBE_TIMEOUT_S))

    async def cancel(self, hand: Hand, call_id: str) -> WorkerReply:
        """Kill the call, or make the worker refuse it for ever."""
        message = Cancel(tenant=self._key.tenant, session=self._key.session, call=call_id, generation=hand.generation)
        subject = subjects.cancel(self._key.cell, hand.worker)
        return _reply(await self._request(subject, msgspec.json.encode(message)))

    async def _request(self, subject: str, data: bytes, *, timeout_s: float = WORKER_TIMEOUT_S) -> Answer | WorkerReply:
        try:
            return _decoded(await self._bus.core.request(subject, data, timeout=timeout_s), Answer)
        except NoResponders:
            return "gone"
        except BusError:
            return "silent"


def _reply(answer: Answer | WorkerReply) -> WorkerReply:
    return answer.answer if isinstance(answer, Answer) else answer


def _decoded(raw: bytes, kind: type[T]) -> T:
    try:
        return decode_record(kind, raw)
    except Damaged:
        raise Refused("the reply of the worker cannot be decoded") from None
