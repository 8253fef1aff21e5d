"""Sends a prepared answer: frame by frame, held at gates, slowed by delays, broken by faults."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from holdfast.scripted_model.blocks import Refused
from holdfast.scripted_model.http import Connection
from holdfast.scripted_model.journal import Gates, Record
from holdfast.scripted_model.response import Frame, frame
from holdfast.scripted_model.scenario import Fault, Step

_BREAKING_FAULTS: Final = ("cut", "end", "hang", "error")
"""Kinds of faults that end the stream before the answer is complete."""


class Plan(msgspec.Struct, frozen=True):
    """A prepared answer: the frames of a stream, or in `whole` the one JSON body of a request that does not stream."""

    record: Record
    step: Step
    frames: list[Frame]
    whole: bytes
    fault: Fault | None

    @property
    def is_immediate(self) -> bool:
        """Whether the answer is sent at once: no delay, no gate, no fault."""
        return not (self.step.ttft or self.step.delay or self.step.gates or self.fault)


async def play(connection: Connection, plan: Plan, gates: Gates, ended: Callable[[Record], None]) -> None:
    """Send the answer with the delays, gates and faults of its step, then call `ended` with the record.

    Cancelled when the caller closes the connection; `ended` is called then too.
    """
    record = plan.record
    try:
        await asyncio.sleep(plan.step.ttft)
        for gate in plan.step.gates:
            if gate.after < 0:
                await gates.hold(gate.name)
        record.first_byte = time.time()
        if plan.whole:
            connection.send(200, plan.whole, request_id(record.number))
            record.last_byte = time.time()
        else:
            await _stream(connection, plan, gates)
    finally:
        record.closed = connection.is_closed and not record.last_byte
        ended(record)


async def _stream(connection: Connection, plan: Plan, gates: Gates) -> None:
    record, step, fault = plan.record, plan.step, plan.fault
    total = sum([f.is_token for f in plan.frames])
    stops = [(min(g.after, total), g.name) for g in step.gates if g.after >= 0]
    breaks = min(fault.after, total) if fault and fault.kind in _BREAKING_FAULTS else -1
    connection.begin(request_id(record.number))
    for index, item in enumerate(plan.frames):
        if item.is_token or index == len(plan.frames) - 2:
            for after, name in stops:
                if after == record.tokens:
                    await gates.hold(name)
            if fault and breaks == record.tokens:
                await _break(connection, fault)
                return
            if item.is_token and step.delay:
                await asyncio.sleep(step.delay)
        connection.write(item.data)
        record.tokens += item.is_token
    connection.finish()
    record.last_byte = time.time()


async def _break(connection: Connection, fault: Fault) -> None:
    match fault.kind:
        case "cut":
            connection.abort()
        case "end":
            connection.finish()
        case "error":
            kind = fault.type or "overloaded_error"
            error = {"type": kind, "message": fault.message or "Overloaded"}
            connection.write(frame("error", {"type": "error", "error": error}).data)
            connection.finish()
        case _:
            await asyncio.Event().wait()


def request_id(number: int) -> dict[str, str]:
    """The header with the id of request `number`."""
    return {"request-id": f"req_scripted{number:08}"}


def send_error(connection: Connection, refused: Refused, number: int = 0) -> None:
    """Send the error answer that the API would give."""
    headers = request_id(number)
    if refused.retry_after is not None:
        headers["retry-after"] = f"{refused.retry_after:g}"
    error = {"type": refused.kind, "message": str(refused)}
    body = {"type": "error", "error": error, "request_id": headers["request-id"]}
    connection.send(refused.status, msgspec.json.encode(body), headers)
