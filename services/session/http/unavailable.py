"""Parts of the API that the SDK knows and this version lacks: a request for one is refused by name. Pure.

A new part of the SDK is one line here; `tests/integration/test_unavailable.py` compares it with the installed SDK.
"""

from typing import Final

from holdfast.session.http.errors import ApiError, path_not_available

PARTS: Final[dict[str, str]] = {
    "/v1/compliance": "compliance reviews",
    "/v1/deployment_runs": "deployments",
    "/v1/deployments": "deployments",
    "/v1/dreams": "dreams",
    "/v1/environments/{environment_id}/work": "self-hosted environments",
    "/v1/memory_stores": "memory stores",
    "/v1/messages": "direct requests to a model",
    "/v1/messages/batches": "message batches",
    "/v1/oauth": "OAuth tokens",
    "/v1/organizations": "organization settings",
    "/v1/organizations/webhooks": "webhooks",
    "/v1/sessions/{session_id}/resources": "session resources",
    "/v1/sessions/{session_id}/threads": "threads",
    "/v1/skills": "skills",
    "/v1/tunnels": "tunnels",
    "/v1/user_profiles": "user profiles",
}
"""The path of each part and its name in the plural. Paths below it belong to it; the longest match counts."""

_SPLIT: Final = sorted(((path.split("/"), name) for path, name in PARTS.items()), key=lambda item: -len(item[0]))


def part_of(path: str) -> str | None:
    """The name of the missing part to which a request path belongs; None for any other path."""
    given = path.split("/")
    for parts, name in _SPLIT:
        if len(given) >= len(parts) and all(a == b or a.startswith("{") for a, b in zip(parts, given, strict=False)):
            return name
    return None


def refusal(path: str) -> ApiError | None:
    """The answer to a request for a missing part of the API; None for a path that the API does not know."""
    name = part_of(path)
    return path_not_available(name) if name else None
