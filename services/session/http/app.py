"""The HTTP edge as one ASGI application, without a framework's middleware: event streams must not be buffered.

For each request, in this order: an id, a span, the route (404 and 405 need no key), the key, the body, the handler.
Whatever fails becomes the error envelope; what nobody foresaw becomes a bare 500, with its traceback in the log.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import msgspec
import structlog
from opentelemetry import trace
from opentelemetry.context import Context as TraceContext
from opentelemetry.trace import Link, Span, SpanKind
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Message, Receive, Scope, Send

from holdfast.bus.errors import BusError
from holdfast.bus.ids import new_id
from holdfast.process import telemetry
from holdfast.session.events.disk_space import RoomOnDisk
from holdfast.session.http import errors as problems
from holdfast.session.http import unavailable
from holdfast.session.http.api_keys import Keys
from holdfast.session.http.auth import authenticate
from holdfast.session.http.decoding import read_json, read_query
from holdfast.session.http.errors import ApiError
from holdfast.session.http.routing import Call, Empty, Route
from holdfast.session.settings import SessionSettings

SERVER: Final = "holdfast"
"""The `server` header of every answer. A harness whose model address is this edge knows it by this header."""

_DRAIN_LIMIT: Final = 64 * 1024 * 1024
_DRAIN_TIMEOUT: Final = 5.0
"""Bytes and seconds for which a refused body is still read: a client that is cut off while sending sees no answer."""

_BODIES: Final = 8
"""Bodies of the largest size that are held at once; a request beyond that is asked to come again."""

_SMALL: Final = 64 * 1024
"""Bytes of each body that need no room: whoever holds large ones open does not shut out the others."""

_log = structlog.get_logger()


class _Gone(Exception):
    """The client has left; nobody reads an answer."""


class _Room:
    """Bytes of large bodies that are held at this moment, of all requests together."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> None:
        """Raises Problem 429 when there is no room left."""
        if size > self._left:
            raise problems.busy()
        self._left -= size

    def give_back(self, size: int) -> None:
        self._left += size


class _Body:
    """The request body, read at most once, with the limits of the settings; it takes room until it is released."""

    def __init__(self, receive: Receive, headers: Headers, settings: SessionSettings, room: _Room) -> None:
        self._receive = receive
        self._room = room
        self._held = 0
        self._limit = settings.body_limit
        self._timeout = settings.body_timeout
        self._announced = headers.get("content-length", "")
        self._more = bool(self._announced.strip("0")) or "transfer-encoding" in headers

    async def _chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._more = False
            raise _Gone
        self._more = message.get("more_body", False)
        return message.get("body", b"")

    async def read(self) -> bytes:
        """All of it. Raises Problem 413 (also for a chunked body) and 408."""
        if self._announced.isdecimal() and int(self._announced) > self._limit:
            raise problems.too_large(self._limit)
        parts: list[bytes] = []
        size = 0
        while self._more:
            try:
                async with asyncio.timeout(self._timeout):
                    part = await self._chunk()
            except TimeoutError:
                self._more = False
                raise problems.too_slow() from None
            size += len(part)
            if size > self._limit:
                raise problems.too_large(self._limit)
            if size - _SMALL > self._held:
                self._room.take(size - _SMALL - self._held)
                self._held = size - _SMALL
            parts.append(part)
        return b"".join(parts)

    def release(self) -> None:
        """The request is over, and with it what its body was made into."""
        self._room.give_back(self._held)
        self._held = 0

    async def discard(self) -> None:
        """Read on for a while, so that the client gets to see the refusal."""
        size = 0
        try:
            async with asyncio.timeout(_DRAIN_TIMEOUT):
                while self._more and size < _DRAIN_LIMIT:
                    size += len(await self._chunk())
        except (TimeoutError, _Gone):
            self._more = False  # an answer to a client that has left goes nowhere, which does no harm


class _Site:
    """The routes, grouped by path so that a wrong method can be told from an unknown path."""

    def __init__(self, routes: Sequence[Route]) -> None:
        methods: dict[str, dict[str, Route]] = {}
        for route in routes:
            at = methods.setdefault(route.path, {})
            assert route.method not in at, f"{route.method} {route.path} is registered twice"
            at[route.method] = route
        # A literal path before one with parameters, so that `/v1/sessions/x` never hides `/v1/sessions/{id}`'s sibling.
        self._paths = [(compile_path(path)[0], at) for path, at in sorted(methods.items(), key=_literal_first)]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its path parameters. Raises Problem 404 or 405.

        A path of the API that this version lacks is refused by name, whatever the method.
        """
        for pattern, methods in self._paths:
            if match := pattern.match(path):
                # The server leaves out the body of an answer to HEAD; that of an endless one would never end.
                route = methods.get("GET" if method == "HEAD" else method)
                if route is None or (method == "HEAD" and route.stream):
                    raise problems.method_not_allowed(sorted(methods))
                return route, match.groupdict()
        raise unavailable.refusal(path) or ApiError(404, "not_found_error", "no such endpoint")


def _literal_first(item: tuple[str, Any]) -> tuple[str, ...]:
    return tuple("~" if part.startswith("{") else part for part in item[0].split("/"))


class Edge:
    """`routes` from the modules, `keys` to know the callers."""

    def __init__(self, routes: Sequence[Route], keys: Keys, settings: SessionSettings) -> None:
        self._site = _Site(routes)
        self._keys = keys
        self._settings = settings
        self._room_on_disk = RoomOnDisk(settings.disk_folder)
        self._room = _Room(_BODIES * settings.body_limit)
        self._tracer = telemetry.tracer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # uvicorn is told to speak neither lifespan nor websockets
        request_id = new_id("req")
        started = False

        async def reply(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["request-id"] = request_id
                headers["server"] = SERVER
            await send(message)

        received = Headers(scope=scope)
        body = _Body(receive, received, self._settings, self._room)
        begin = time.perf_counter()
        status = 0
        with self._span(scope, received) as span:
            try:
                response = await self._answer(scope, received, body)
                status = response.status_code
                await response(scope, receive, reply)
            except _Gone:
                return
            except Exception as exc:  # noqa: BLE001  the last place where a failure can become an answer
                problem = self._problem(exc, request_id)
                status = problem.status
                body.release()
                if started:
                    return  # the answer is cut off, which is all that can still be said
                await body.discard()
                await _refusal(problem, request_id)(scope, receive, reply)
            finally:
                body.release()
                span.set_attribute("http.response.status_code", status)
                _log.debug(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    request_id=request_id,
                    seconds=round(time.perf_counter() - begin, 6),
                )

    def _span(self, scope: Scope, headers: Headers) -> AbstractContextManager[Span]:
        """A root span: a caller's trace is linked, but neither its parent nor its sampling flag is ours to obey."""
        theirs = trace.get_current_span(telemetry.extract(headers)).get_span_context()
        return self._tracer.start_as_current_span(
            scope["method"],
            context=TraceContext(),
            kind=SpanKind.SERVER,
            links=[Link(theirs)] if theirs.is_valid else None,
            record_exception=False,
        )

    async def _answer(self, scope: Scope, headers: Headers, body: _Body) -> Response:
        route, path = self._site.find(scope["method"], scope["path"])
        span = trace.get_current_span()
        span.update_name(f"{route.method} {route.path}")
        span.set_attribute("http.route", route.path)
        tenant = ""
        if not route.public:
            tenant = (await authenticate(headers, self._keys)).tenant
        request = Request(scope)
        query = read_query(request.query_params.multi_items(), route.query)
        content: Any = Empty()
        if route.method != "GET":
            raw = await body.read()
            if raw or route.body is not Empty:
                content = read_json(raw, route.body)
            self._room_on_disk.check(route, content)
        result = await route.handle(Call(request=request, tenant=tenant, path=path, query=query, body=content))
        if isinstance(result, Response):
            return result
        return Response(msgspec.json.encode(result), media_type="application/json")

    def _problem(self, exc: Exception, request_id: str) -> ApiError:
        match exc:
            case ApiError():
                return exc
            case BusError():
                problem = problems.of_bus(exc)
                if problem.status >= 500:
                    _log.warning("the bus did not answer", request_id=request_id, cause=str(exc))
                return problem
            case TimeoutError():
                _log.warning("a deadline has passed", request_id=request_id, exc_info=exc)
                return problems.unavailable()
            case _:
                _log.error("request failed", request_id=request_id, exc_info=exc)
                return problems.internal()


def _refusal(problem: ApiError, request_id: str) -> Response:
    content = msgspec.json.encode(problems.envelope(problem, request_id))
    return Response(content, problem.status, problem.headers, media_type="application/json")
