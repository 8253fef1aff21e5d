"""The HTTP edge as one ASGI application.

Starlette's Router would do; its BaseHTTPMiddleware would not, because it buffers event streams. The edge needs neither.

For each request, in this order: an id, a span, the host, the route (404 and 405 need no key), the key,
the rate of its requests, its role, the body, the handler.
Every exception becomes the error envelope; an unexpected one becomes a bare 500, with its traceback in the log.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from holdfast.bus.errors import BusError
from holdfast.bus.ids import new_id
from holdfast.process import failures, metering, metrics
from holdfast.session.http import errors
from holdfast.session.http.api_keys import ApiKeys
from holdfast.session.http.auth import authenticate, key_of
from holdfast.session.http.body import BodyBudget, ClientDisconnected, RequestBody
from holdfast.session.http.caller import NOBODY
from holdfast.session.http.decoding import read_query
from holdfast.session.http.errors import ApiError
from holdfast.session.http.hosts import HostCheck
from holdfast.session.http.json_body import decode_body
from holdfast.session.http.key_ending import until_set
from holdfast.session.http.request_limits import RequestLimits
from holdfast.session.http.request_span import RequestSpan
from holdfast.session.http.router import Router
from holdfast.session.http.routing import Call, Empty, Route

SERVER_HEADER: Final = "holdfast"
"""The `server` header of every answer. A harness whose model address is this edge recognises the edge by it."""

UNKNOWN_BODIES_AT_ONCE: Final = 16
"""The budget for bodies of requests without a key, whose signature is checked only once the body is there; in bodies of
the largest size of their route."""

LARGEST_BODIES_AT_ONCE: Final = 8
"""The budget for bodies, in bodies of the largest size; a request beyond it is answered 429."""

_ROUTE: Final = "holdfast.route"
"""Key of the scope under which the Route of the request is."""

_log = structlog.get_logger()


def admit_all(_route: Route, _body: Any) -> None:
    """The `admit` of an edge that refuses no request before its handler."""


class Edge:
    """`body_limit` is in bytes, `body_timeout` in seconds.

    `admit(route, body)` runs before each handler of a POST or DELETE, and may raise ApiError.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        keys: ApiKeys,
        *,
        body_limit: int,
        body_timeout: float,
        hosts: HostCheck,
        admit: Callable[[Route, Any], None] = admit_all,
        limits: RequestLimits | None = None,
    ) -> None:
        self._router = Router(routes)
        self._keys = keys
        self._body_limit = body_limit
        self._body_timeout = body_timeout
        self._body_budget = BodyBudget(LARGEST_BODIES_AT_ONCE * body_limit)
        most = max((route.raw_limit for route in routes if route.signed), default=0)
        self._unknown_budget = BodyBudget(UNKNOWN_BODIES_AT_ONCE * most)
        self._hosts = hosts
        self._admit = admit
        self._limits = limits or RequestLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # uvicorn is told to speak neither lifespan nor websockets
        request_id = new_id("req")
        reply = _Reply(send, request_id)
        headers = Headers(scope=scope)
        body = RequestBody(receive, headers, self._body_budget, limit=self._body_limit, timeout=self._body_timeout)
        started_at = time.perf_counter()
        status = 0
        span = RequestSpan(scope["method"], headers, request_id)
        try:
            response, ending = await self._respond(scope, headers, body, request_id, span)
            status = response.status_code
            if ending is not None:
                span.end(status, scope.get(_ROUTE))
            await response(scope, until_set(ending, receive) if ending else receive, reply)
        except ClientDisconnected:
            return
        except Exception as exc:  # noqa: BLE001  the last place where a failure can become an answer
            error = _error_of(exc, request_id)
            status = error.status
            body.release()
            if reply.started:
                return  # the status is sent already: the answer is cut off, and the client sees that
            await body.drain()
            await _refusal(error, request_id)(scope, receive, reply)
        finally:
            body.release()
            span.end(status, scope.get(_ROUTE))
            _record_request(scope, status, time.perf_counter() - started_at)
            _log.debug(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                request_id=request_id,
                seconds=round(time.perf_counter() - started_at, 6),
            )

    async def _respond(
        self, scope: Scope, headers: Headers, body: RequestBody, request_id: str, span: RequestSpan
    ) -> tuple[Response, asyncio.Event | None]:
        """The response, and for an event stream what ends it: its key is not valid any more."""
        if refusal := self._hosts.refusal(headers.getlist("host")):
            raise refusal
        route, path = self._router.find(scope["method"], scope["path"])
        scope[_ROUTE] = route
        ending = self._keys.ending(key_of(headers)) if route.stream else None
        is_unknown = route.signed and not key_of(headers)
        caller = NOBODY
        if not route.public and not is_unknown:
            caller = await authenticate(headers, self._keys)
            self._limits.check(caller, route.needs, time.monotonic())
            caller.check(route.needs)
        span.begin(route, trusted=caller is not NOBODY)
        request = Request(scope)
        query = read_query(request.query_params.multi_items(), route.query)
        content: Any = Empty()
        if route.upload is not None:
            content = body
            self._admit(route, content)
        elif route.method != "GET":
            if route.raw_limit:
                body.restrict(route.raw_limit, self._unknown_budget if is_unknown else None)
            raw = await body.read()
            if route.raw_limit:
                content = raw
            elif raw or route.body is not Empty:
                content = await decode_body(raw, route.body)
            self._admit(route, content)
        call = Call(request=request, request_id=request_id, caller=caller, path=path, query=query, body=content)
        result = await route.handle(call)
        return result if isinstance(result, Response) else _json(result), ending


class _Reply:
    """`send` of one request, which adds the headers of every answer."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            headers["request-id"] = self._request_id
            headers["server"] = SERVER_HEADER
        await self._send(message)


def _record_request(scope: Scope, status: int, seconds: float) -> None:
    """Not of event streams, which last for as long as their readers like. Status 0: the client went away."""
    route: Route | None = scope.get(_ROUTE)
    if metering.is_on() and not (route is not None and route.stream and status == 200):
        # A client may send any method and path: only those of routes are labels.
        where = {metrics.METHOD: route.method, metrics.ROUTE: route.path} if route else {metrics.METHOD: metrics.OTHER}
        metering.record(metrics.HTTP_DURATION, seconds, {**where, metrics.STATUS: status})


def _error_of(exc: Exception, request_id: str) -> ApiError:
    """The answer to a request whose handling ended in `exc`, which is logged if it is a failure of ours."""
    match exc:
        case ApiError():
            return exc
        case BusError():
            error = errors.of_bus(exc)
            if error.status >= 500:
                _log.warning("a request failed at the bus", request_id=request_id, code=exc.code, cause=str(exc))
            return error
        case TimeoutError():
            _log.warning("a deadline has passed", request_id=request_id, exc_info=exc)
            return errors.unavailable()
        case _:
            _log.error("request failed", request_id=request_id, exc_info=exc, failure=failures.bug("http"))
            return errors.internal()


def _refusal(error: ApiError, request_id: str) -> Response:
    return _json(errors.envelope(error, request_id), error.status, error.headers)


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")
