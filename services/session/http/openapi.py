"""The OpenAPI 3.1 document of the edge, made from its routes: what is served is what is described."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from starlette.responses import Response

from holdfast.session.http.routing import Call, Empty, Route
from holdfast.session.http.timestamps import Instant

OPEN: Final = ("/healthz", "/readyz", "/openapi.json")
"""Paths that need no key."""

_REF: Final = "#/components/schemas/{name}"

_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object"},
            },
        },
        "request_id": {"type": "string"},
    },
}


def routes(described: Sequence[Route]) -> list[Route]:
    """The route that serves the document of all of them, itself not included."""
    raw = msgspec.json.encode(document(described))

    async def openapi(_call: Call) -> Response:
        """This document."""
        return Response(raw, media_type="application/json")

    return [Route(method="GET", path="/openapi.json", handle=openapi)]


def document(described: Sequence[Route]) -> dict[str, Any]:
    """The whole document as plain JSON."""
    bodies = [route.body for route in described if route.body is not Empty]
    schemas, components = msgspec.json.schema_components(bodies, schema_hook=_schema, ref_template=_REF)
    by_body = {id(body): schema for body, schema in zip(bodies, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in described:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_body.get(id(route.body)))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": "1",
            "description": "Agents, environments, sessions and vaults: the Managed Agents API, on your own machines.",
        },
        "security": [{"bearer": []}, {"api_key": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _operation(route: Route, body: dict[str, Any] | None) -> dict[str, Any]:
    handler: Any = route.handle
    text = str(handler.__doc__ or "").strip()
    media = "text/event-stream" if route.stream else "application/json"
    operation: dict[str, Any] = {
        "operationId": f"{handler.__module__.rpartition('.')[2]}.{handler.__name__}",
        "summary": text.partition("\n")[0],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {
            "200": {"description": "Done.", "content": {media: {"schema": {}}}},
            "default": {
                "description": "Refused or failed.",
                "content": {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}},
            },
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if route.path in OPEN:
        operation["security"] = []
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([route.query], schema_hook=_schema, ref_template=_REF)
    schema = components[route.query.__name__]
    required = schema.get("required", ())
    parameters: list[dict[str, Any]] = []
    for name, optional in schema["properties"].items():
        kind = _without_null(optional)
        parameters.append(
            {
                "name": f"{name}[]" if kind.get("type") == "array" else name,
                "in": "query",
                "required": name in required,
                "schema": kind,
            }
        )
    return parameters


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query string has no null: what may be left out is left out."""
    given = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return given[0] if len(given) == 1 else {key: value for key, value in schema.items() if value is not None}


def _schema(kind: type) -> dict[str, Any]:
    if kind is Instant:
        return {"type": "string", "format": "date-time"}
    raise NotImplementedError(f"no schema for {kind}")
