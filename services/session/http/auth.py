"""Who is calling: `Authorization: Bearer <key>` (SDK 2) or `x-api-key: <key>` (older ones)."""

from starlette.datastructures import Headers

from holdfast.session.http.api_keys import KeyRecord, Keys
from holdfast.session.http.errors import unauthenticated

MAX_KEY = 512
"""Longest key in characters that is looked at."""


def key_of(headers: Headers) -> str:
    """The key that the request carries, or an empty string."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-api-key", "").strip()


async def authenticate(headers: Headers, keys: Keys) -> KeyRecord:
    """The record of the caller's key. Raises the same Problem 401 for a missing and for an unknown one."""
    key = key_of(headers)
    if not key or len(key) > MAX_KEY:
        raise unauthenticated()
    record = await keys.owner(key)
    if record is None:
        raise unauthenticated()
    return record
