"""Routes: the endpoints that a module serves, from which the edge and the OpenAPI document are made.

A handler gets a `Call` whose path, query and body have been decoded into the types that its `Route` names. It returns a
value of the type `answer` (status 200, written as JSON) or a Starlette response (event streams). It may raise ApiError;
the edge turns a BusError into one.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec
from starlette.requests import Request

from holdfast.bus.ids import is_token
from holdfast.session.http.caller import NOBODY, Caller
from holdfast.session.http.errors import not_found
from holdfast.session.http.roles import Access


class Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A query or a body without any field."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request, decoded; authenticated unless its route is public."""

    request: Request
    caller: Caller = NOBODY
    """Whose API key it is; NOBODY on a public route, and for a request without a key on a signed one."""
    request_id: str = ""
    path: dict[str, str]
    query: Any
    """A value of the route's `query` type."""
    body: Any
    """A value of the route's `body` type; the bytes as they came if it has `raw_limit`; a RequestBody, which the
    handler reads by itself, if it is an `upload`."""

    @property
    def tenant(self) -> str:
        """The tenant of the API key; empty on a public route."""
        return self.caller.tenant

    def id(self, name: str) -> str:
        """The id in the path under `name`, such as `agent_id`. Raises ApiError 404 for a text that is no id."""
        value = self.path[name]
        if not is_token(value):
            raise not_found(name.removesuffix("_id").replace("_", " "))
        return value


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint. Its summary in the OpenAPI document is the first line of the handler's docstring."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    """With parameters in braces: `/v1/agents/{agent_id}`."""
    handle: Callable[[Call], Awaitable[Any]]
    body: Any = Empty
    """Type of the JSON body of a POST, a Struct with `forbid_unknown_fields`. `Empty`: the body may be left out."""
    query: type[msgspec.Struct] = Empty
    """A Struct with the parameters of the query. A list is sent as `name[]=` or `name=`, repeated. A parameter such as
    `created_at[gte]` is the JSON name of its field."""
    answer: Any = Any
    """Type of the JSON body of a 200, usually a Struct. `Any`: the OpenAPI document promises nothing about it."""
    answer_503: Any = None
    """Type of the JSON body of a 503 where that is not the error envelope, else None."""
    stream: bool = False
    """The answer is an event stream."""
    public: bool = False
    """Served without an API key."""
    signed: bool = False
    """A request may come without an API key: the handler then checks its signature, and answers 401."""
    raw_limit: int = 0
    """Bytes that the body may have, which is handed to the handler as it came; 0: it is decoded as `body`."""
    upload: type[msgspec.Struct] | None = None
    """The body is `multipart/form-data` with a part `file` and the fields of this type. The handler reads it by itself,
    so that it need not be in memory."""
    download: bool = False
    """The answer is the bytes of a file."""
    access: Access | None = None
    """What a key must be allowed to do; None: `read` for GET, else `write`."""

    @property
    def needs(self) -> Access:
        """What a key must be allowed to do."""
        return self.access or ("read" if self.method == "GET" else "write")
