"""The Messages API of the scripted model: checks a request, finds its step, and prepares the answer."""

import hashlib
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast.scripted_model.blocks import Refused
from holdfast.scripted_model.control import Control
from holdfast.scripted_model.http import Connection, Request
from holdfast.scripted_model.journal import Gates, Journal, Record
from holdfast.scripted_model.playback import Plan, play, request_id, send_error
from holdfast.scripted_model.response import Response
from holdfast.scripted_model.scenario import Fault, Place, Script, Step, marks, texts
from holdfast.scripted_model.usage import CHARS_PER_TOKEN, PromptCache, char_count
from holdfast.scripted_model.validate import check

Json = dict[str, Any]

_ERROR_TYPES: Final = {
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
_MODEL_IDS: Final = ("scripted",)
"""What GET /v1/models lists. Requests may name any model."""


class Server:
    """One scripted model. `key` is the only API key it accepts; empty: any. `bench`: check nothing, keep no bodies."""

    def __init__(self, script: Script, *, key: str = "", record: Path | None = None, bench: bool = False) -> None:
        self._script = script
        self._key = key
        self._bench = bench
        self._journal = Journal(file=record)
        self._gates = Gates()
        self._cache = PromptCache()
        self._attempts: dict[tuple[str, str, int], int] = {}
        self._decode = msgspec.json.Decoder().decode
        self._control = Control(self._journal, self._gates, script, self._forget)

    def _forget(self) -> None:
        self._attempts.clear()
        self._cache.clear()

    def serve(self, connection: Connection, request: Request) -> Coroutine[Any, Any, None] | None:
        """Answer one request at once and return None, or return the coroutine that answers it; see `Connection`."""
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
                    send_error(connection, Refused(why, status=404, kind="not_found_error"))
                return work
        return None

    def _messages(self, connection: Connection, request: Request) -> Coroutine[Any, Any, None] | None:
        record = self._journal.open(request.path, time.time())
        try:
            body = self._read(request)
            if not self._bench:
                self._journal.keep(record, body, len(request.body))
            plan = self._plan(body, request.body, record)
        except Refused as exc:
            record.status, record.error = exc.status, str(exc)
            record.first_byte = record.last_byte = time.time()
            send_error(connection, exc, record.number)
            self._journal.end(record)
            return None
        self._journal.changed()
        if not plan.is_immediate:
            return play(connection, plan, self._gates, self._journal.end)
        record.first_byte = time.time()
        if plan.whole:
            connection.send(200, plan.whole, request_id(record.number))
        else:
            connection.stream(request_id(record.number), b"".join([f.data for f in plan.frames]))
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

    def _plan(self, body: Json, raw: bytes, record: Record) -> Plan:
        messages: list[Json] = body["messages"]
        place = self._script.place(messages, [str(tool.get("name")) for tool in body.get("tools") or ()])
        step = self._script.step(messages, place)
        record.marks = marks(messages)
        size = char_count(body, raw)
        fault = None
        if place:
            limit = self._script.scenarios[place.name].context_tokens
            if limit and size // CHARS_PER_TOKEN > limit:
                raise Refused(f"prompt is too long: {size // CHARS_PER_TOKEN} tokens > {limit} maximum")
        if place and not self._script.asks_summary(messages):
            record.scenario, record.step = place.name, place.step
            fault = self._fault(step, place, messages, record)
        seed = hashlib.blake2b(raw, digest_size=12).hexdigest()
        usage = {"input_tokens": size // CHARS_PER_TOKEN} if self._bench else self._cache.count(body, size)
        response = Response(step, seed=seed, model=body["model"], usage=usage, fault=fault)
        record.status, record.usage = 200, response.usage
        if body.get("stream") is True:
            return Plan(record, step, response.frames(), b"", fault)
        return Plan(record, step, [], response.message(), fault)

    def _fault(self, step: Step, place: Place, messages: list[Json], record: Record) -> Fault | None:
        """The fault of this attempt at the step, None for a good answer. Raises Refused for the fault `status`."""
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
                kind = fault.type or _ERROR_TYPES.get(fault.status, "api_error")
                why = fault.message or "The scenario says so"
                raise Refused(why, status=fault.status, kind=kind, retry_after=fault.retry_after)
            return fault
        return None

    def _count_tokens(self, connection: Connection, request: Request) -> None:
        try:
            self._read(msgspec.structs.replace(request, body=_with_limit(request.body)))
        except Refused as exc:
            send_error(connection, exc)
            return
        connection.send(200, msgspec.json.encode({"input_tokens": len(request.body) // CHARS_PER_TOKEN}))


def _with_limit(body: bytes) -> bytes:
    """The body of a count_tokens request, completed with the `max_tokens` that the checks of a message need."""
    try:
        return msgspec.json.encode({"max_tokens": 1, **msgspec.json.decode(body, type=dict[str, Any])})
    except msgspec.MsgspecError:
        return body


def _models() -> bytes:
    listed = [{"type": "model", "id": m, "display_name": m, "created_at": "2026-01-01T00:00:00Z"} for m in _MODEL_IDS]
    return msgspec.json.encode(
        {"data": listed, "has_more": False, "first_id": listed[0]["id"], "last_id": listed[-1]["id"]}
    )
