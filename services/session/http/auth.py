"""Authentication of a request: `Authorization: Bearer <key>` (SDK 2) or `x-api-key: <key>` (older SDKs)."""

from typing import Final

from starlette.datastructures import Headers

from holdfast.session.http.api_keys import ApiKeys, KeyRecord
from holdfast.session.http.errors import unauthenticated

MAX_KEY_CHARACTERS: Final = 512
"""A longer key is refused without a look-up."""


def key_of(headers: Headers) -> str:
    """The key that the request carries, or an empty string."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-api-key", "").strip()


async def authenticate(headers: Headers, keys: ApiKeys) -> KeyRecord:
    """The record of the caller's key. Raises the same ApiError 401 for a missing and for an unknown key."""
    key = key_of(headers)
    if not key or len(key) > MAX_KEY_CHARACTERS:
        raise unauthenticated()
    record = await keys.find(key)
    if record is None:
        raise unauthenticated()
    return record
