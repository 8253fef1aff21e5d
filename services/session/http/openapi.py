"""The OpenAPI 3.1 document of the edge, made from the types that its routes name. Pure."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from starlette.responses import Response

from holdfast.session.http.errors import ErrorResponse
from holdfast.session.http.roles import roles_with
from holdfast.session.http.routing import Call, Empty, Route
from holdfast.session.http.timestamps import Instant

_REF: Final = "#/components/schemas/{name}"


def routes(described: Sequence[Route]) -> list[Route]:
    """The route that serves the document of the given routes."""
    raw = msgspec.json.encode(document(described))

    async def openapi(_call: Call) -> Response:
        """This document."""
        return Response(raw, media_type="application/json")

    return [Route(method="GET", path="/openapi.json", handle=openapi, public=True)]


def document(described: Sequence[Route]) -> dict[str, Any]:
    """The whole document as plain JSON."""
    schemas = _Schemas(described)
    paths: dict[str, dict[str, Any]] = {}
    for route in described:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
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
            "schemas": schemas.components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


class _Schemas:
    """The JSON schema of each type that a route names, and the components that these refer to."""

    def __init__(self, described: Sequence[Route]) -> None:
        types = [ErrorResponse]
        for route in described:
            types += [kind for kind in (route.body, route.answer, route.answer_503) if kind not in (Empty, Any, None)]
        schemas, self.components = msgspec.json.schema_components(types, schema_hook=_schema, ref_template=_REF)
        self._found = list(zip(types, schemas, strict=True))

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of `kind`; an empty schema for Any."""
        return {} if kind is Any else next(schema for known, schema in self._found if known == kind)


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    handler: Any = route.handle
    text = str(handler.__doc__ or "").strip()
    operation: dict[str, Any] = {
        "operationId": f"{_module(handler)}.{handler.__name__}",
        "summary": text.partition("\n")[0],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route, schemas),
    }
    if route.body is not Empty:
        content = {"application/json": {"schema": schemas.of(route.body)}}
        operation["requestBody"] = {"required": True, "content": content}
    if route.raw_limit:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": {}}}}
    if route.upload is not None:
        schema = _upload_schema(route.upload)
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    if route.public:
        operation["security"] = []
    else:
        operation["x-roles"] = roles_with(route.needs)
    if route.signed:
        operation["security"] = [{"bearer": []}, {"api_key": []}, {}]
    return operation


def _upload_schema(fields: type[msgspec.Struct]) -> dict[str, Any]:
    """The form with a file and these fields."""
    _, components = msgspec.json.schema_components([fields], schema_hook=_schema, ref_template=_REF)
    properties = {name: _without_null(kind) for name, kind in components[fields.__name__]["properties"].items()}
    file = {"type": "string", "format": "binary"}
    return {"type": "object", "properties": {"file": file, **properties}, "required": ["file"]}


def _module(handler: Any) -> str:
    """Where a handler is defined: `agents` for the module `…agents.routes`, else the last name."""
    *_, folder, module = str(handler.__module__).split(".")
    return folder if module == "routes" else module


def _responses(route: Route, schemas: _Schemas) -> dict[str, Any]:
    media = "text/event-stream" if route.stream else "*/*" if route.download else "application/json"
    shape = {"type": "string", "format": "binary"} if route.download else schemas.of(route.answer)
    responses: dict[str, Any] = {
        "200": {"description": "Done.", "content": {media: {"schema": shape}}},
        "default": {
            "description": "Refused or failed.",
            "content": {"application/json": {"schema": schemas.of(ErrorResponse)}},
        },
    }
    if route.answer_503 is not None:
        content = {"application/json": {"schema": schemas.of(route.answer_503)}}
        responses["503"] = {"description": "Not ready.", "content": content}
    return responses


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
    """A query string has no null: a parameter that may be null may be left out."""
    given = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return given[0] if len(given) == 1 else {key: value for key, value in schema.items() if value is not None}


def _schema(kind: type) -> dict[str, Any]:
    """Schema hook of msgspec for `Instant`."""
    if kind is Instant:
        return {"type": "string", "format": "date-time"}
    raise NotImplementedError(f"no schema for {kind}")
