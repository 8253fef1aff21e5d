"""The Messages API of the scripted model, and how an answer is played."""

import asyncio
import hashlib
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast.cli.models import DEFAULT_MODEL
from holdfast.scripted_model.answers import Answer, Frame, frame
from holdfast.scripted_model.blocks import Refused
from holdfast.scripted_model.control import Control
from holdfast.scripted_model.http import Connection, Request
from holdfast.scripted_model.journal import Gates, Journal, Record
from holdfast.scripted_model.scenario import Fault, Place, Script, Step, marks, texts
from holdfast.scripted_model.usage import CHARACTERS, Cache, weight
from holdfast.scripted_model.validate import check

Json = dict[str, Any]

_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_BREAKING: Final = ("cut", "end", "hang", "error")
"""Faults that stop the stream."""

_MODELS: Final = (DEFAULT_MODEL,)


class _Plan(msgspec.Struct, frozen=True):
    """A step on its way to the caller: its frames, or with `whole` one JSON body."""

    record: Record
    step: Step
    frames: list[Frame]
    whole: bytes
    fault: Fault | None

    @property
    def is_immediate(self) -> bool:
        return not (self.step.ttft or self.step.delay or self.step.gates or self.fault)


class Server:
    """One scripted model. `key`: the only API key it takes; empty: any. `bench`: no checks, and bodies are not kept."""

    def __init__(self, script: Script, *, key: str = "", record: Path | None = None, bench: bool = False) -> None:
        self._script = script
        self._key = key
        self._bench = bench
        self._journal = Journal(file=record)
        self._gates = Gates()
        self._cache = Cache()
        self._attempts: dict[tuple[str, str, int], int] = {}
        self._decode = msgspec.json.Decoder().decode
        self._control = Control(self._journal, self._gates, script, self._forget)

    def _forget(self) -> None:
        self._attempts.clear()
        self._cache.clear()

    def serve(self, connection: Connection, request: Request) -> Coroutine[Any, Any, None] | None:
        """Answer one request; see `Connection`."""
        match request.method, request.path:
            case ["POST", "/v1/messages"]:
                return self._messages(connection, request)
            case ["POST", "/v1/messages/count_tokens"]:
                self._count_tokens(connection, request)
            case ["GET", "/v1/models"]:
                connection.send(200, _models())
            case _:
                work = self._control.route(connection, request)
                if work is None:
                    why = f"{request.method} {request.path}: not found"
                    _error(connection, Refused(why, status=404, kind="not_found_error"))
                return work
        return None

    def _messages(self, connection: Connection, request: Request) -> Coroutine[Any, Any, None] | None:
        record = self._journal.open(request.path, time.time())
        try:
            body = self._read(request)
            record.body = None if self._bench else body
            plan = self._plan(body, request.body, record)
        except Refused as exc:
            record.status, record.error = exc.status, str(exc)
            record.first_byte = record.last_byte = time.time()
            _error(connection, exc, record.number)
            self._journal.end(record)
            return None
        self._journal.changed()
        if not plan.is_immediate:
            return self._play(connection, plan)
        record.first_byte = time.time()
        if plan.whole:
            connection.send(200, plan.whole, _ids(record.number))
        else:
            connection.stream(_ids(record.number), b"".join([f.data for f in plan.frames]))
        record.tokens = sum([f.is_token for f in plan.frames])
        record.last_byte = time.time()
        self._journal.end(record)
        return None

    def _read(self, request: Request) -> Json:
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if not key or (self._key and key != self._key):
            raise Refused("invalid x-api-key", status=401, kind="authentication_error")
        if "anthropic-version" not in request.headers:
            raise Refused("anthropic-version: header is required")
        try:
            body = self._decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise Refused(f"The request body is not valid JSON: {exc}") from None
        if not self._bench:
            check(body)
        return body

    def _plan(self, body: Json, raw: bytes, record: Record) -> _Plan:
        messages: list[Json] = body["messages"]
        place = self._script.place(messages, [str(tool.get("name")) for tool in body.get("tools") or ()])
        step = self._script.step(messages, place)
        record.marks = marks(messages)
        size = weight(body, raw)
        fault = None
        if place:
            limit = self._script.scenarios[place.name].context_tokens
            if limit and size // CHARACTERS > limit:
                raise Refused(f"prompt is too long: {size // CHARACTERS} tokens > {limit} maximum")
        if place and not self._script.asks_summary(messages):
            record.scenario, record.step = place.name, place.step
            fault = self._fault(step, place, messages, record)
        seed = hashlib.blake2b(raw, digest_size=12).hexdigest()
        usage = {"input_tokens": size // CHARACTERS} if self._bench else self._cache.count(body, size)
        answer = Answer(step, seed=seed, model=body["model"], usage=usage, fault=fault)
        record.status, record.usage = 200, answer.usage
        if body.get("stream") is True:
            return _Plan(record, step, answer.frames(), b"", fault)
        return _Plan(record, step, [], answer.message(), fault)

    def _fault(self, step: Step, place: Place, messages: list[Json], record: Record) -> Fault | None:
        """What goes wrong at this attempt. Raises Refused when that is an error status."""
        if not step.faults:
            return None
        conversation = "".join(texts(messages[0]))
        key = (conversation, place.name, place.step)
        record.attempt = self._attempts[key] = self._attempts.get(key, 0) + 1
        upto = 0
        for fault in step.faults:
            upto += fault.times
            if fault.times and record.attempt > upto:
                continue
            record.fault = fault.kind
            if fault.kind == "status":
                kind = fault.type or _KINDS.get(fault.status, "api_error")
                why = fault.message or "The scenario says so"
                raise Refused(why, status=fault.status, kind=kind, retry_after=fault.retry_after)
            return fault
        return None

    async def _play(self, connection: Connection, plan: _Plan) -> None:
        """Send the frames with the delays, gates and faults of the step."""
        record = plan.record
        try:
            await asyncio.sleep(plan.step.ttft)
            for gate in plan.step.gates:
                if gate.after < 0:
                    await self._gates.hold(gate.name)
            record.first_byte = time.time()
            if plan.whole:
                connection.send(200, plan.whole, _ids(record.number))
                record.last_byte = time.time()
            else:
                await self._stream(connection, plan)
        finally:
            record.closed = connection.is_closed and not record.last_byte
            self._journal.end(record)

    async def _stream(self, connection: Connection, plan: _Plan) -> None:
        record, step, fault = plan.record, plan.step, plan.fault
        total = sum([f.is_token for f in plan.frames])
        stops = [(min(g.after, total), g.name) for g in step.gates if g.after >= 0]
        breaks = min(fault.after, total) if fault and fault.kind in _BREAKING else -1
        connection.begin(_ids(record.number))
        for index, item in enumerate(plan.frames):
            if item.is_token or index == len(plan.frames) - 2:
                for after, name in stops:
                    if after == record.tokens:
                        await self._gates.hold(name)
                if fault and breaks == record.tokens:
                    await _break(connection, fault)
                    return
                if item.is_token and step.delay:
                    await asyncio.sleep(step.delay)
            connection.write(item.data)
            record.tokens += item.is_token
        connection.finish()
        record.last_byte = time.time()

    def _count_tokens(self, connection: Connection, request: Request) -> None:
        try:
            self._read(msgspec.structs.replace(request, body=_with_limit(request.body)))
        except Refused as exc:
            _error(connection, exc)
            return
        connection.send(200, msgspec.json.encode({"input_tokens": len(request.body) // CHARACTERS}))


def _with_limit(body: bytes) -> bytes:
    """The body of count_tokens is that of a message without `max_tokens`."""
    try:
        return msgspec.json.encode({"max_tokens": 1, **msgspec.json.decode(body, type=dict[str, Any])})
    except msgspec.MsgspecError:
        return body


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


def _ids(number: int) -> dict[str, str]:
    return {"request-id": f"req_scripted{number:08}"}


def _error(connection: Connection, refused: Refused, number: int = 0) -> None:
    headers = _ids(number)
    if refused.retry_after is not None:
        headers["retry-after"] = f"{refused.retry_after:g}"
    error = {"type": refused.kind, "message": str(refused)}
    body = {"type": "error", "error": error, "request_id": headers["request-id"]}
    connection.send(refused.status, msgspec.json.encode(body), headers)


def _models() -> bytes:
    listed = [{"type": "model", "id": m, "display_name": m, "created_at": "2026-01-01T00:00:00Z"} for m in _MODELS]
    return msgspec.json.encode({"data": listed, "has_more": False, "first_id": _MODELS[0], "last_id": _MODELS[-1]})
