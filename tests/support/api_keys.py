"""API keys of a running edge, made through its API, which the SDK has no methods for."""

from typing import Any, cast

import httpx
from anthropic import Anthropic

from tests.support.edge import SessionService


def make_key(edge: SessionService, role: str, **body: str) -> dict[str, Any]:
    """A new key as the answer has it: `key` is the key itself."""
    return _admin(edge).post("/v1/api_keys", cast_to=object, body={"name": f"a {role}", "role": role, **body})  # type: ignore[return-value]


def revoke(edge: SessionService, key_id: str) -> dict[str, Any]:
    return _admin(edge).post(f"/v1/api_keys/{key_id}/revoke", cast_to=object)  # type: ignore[return-value]


def listed(edge: SessionService, path: str = "/v1/api_keys", **query: str) -> list[dict[str, Any]]:
    """All objects of a list that has fewer than a hundred."""
    query = {"limit": "100", **query}
    found = _admin(edge).get(path, cast_to=object, options={"params": query})
    return cast("dict[str, Any]", found)["data"]


def with_key(edge: SessionService, key: str) -> httpx.Client:
    return httpx.Client(base_url=edge.base_url, headers={"x-api-key": key}, timeout=30, trust_env=False)


def _admin(edge: SessionService) -> Anthropic:
    return edge.client(max_retries=0)
