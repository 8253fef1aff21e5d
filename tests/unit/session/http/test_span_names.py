"""Spans of requests have the names of the SDK's methods."""

from anthropic import Anthropic

from holdfast.session.http.routing import Route
from holdfast.session.http.span_names import span_name
from tests.unit.session.http.test_openapi import routes

__all__ = ["routes"]


def test_every_route_has_the_name_of_a_method_of_the_sdk(routes: list[Route]) -> None:
    named = {span_name(route.method, route.path) for route in routes if route.path.startswith("/v1/")}
    assert len(named) > 25
    missing: list[str] = []
    beta = Anthropic(api_key="x").beta
    ours = {"webhooks"}  # in the SDK it only verifies
    resources = {name for name in named if hasattr(beta, name.split(".")[1])}  # others are resources of ours too
    for name in sorted(name for name in resources if name.split(".")[1] not in ours):
        found: object = beta
        for word in name.split(".")[1:]:
            found = getattr(found, word, None)
        if not callable(found):
            missing.append(name)
    assert missing == []


def test_names_of_special_paths() -> None:
    assert span_name("POST", "/v1/sessions/{session_id}/events") == "anthropic.sessions.events.send"
    assert span_name("GET", "/v1/sessions/{session_id}/events/stream") == "anthropic.sessions.events.stream"
    assert span_name("POST", "/v1/sessions/{session_id}") == "anthropic.sessions.update"
    assert span_name("POST", "/v1/tasks/{task}") == "anthropic.tasks.send"
    assert span_name("POST", "/v1/tasks/{task}/resend") == "anthropic.tasks.resend"
    assert span_name("GET", "/v1/files/{file_id}") == "anthropic.files.retrieve_metadata"
    assert span_name("GET", "/healthz") == "GET /healthz"
