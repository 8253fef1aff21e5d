"""Authentication of a request: `Authorization: Bearer <key>` (SDK 2) or `x-api-key: <key>` (older SDKs)."""

from typing import Final

from starlette.datastructures import Headers

from holdfast.session.http.api_keys import ApiKeys
from holdfast.session.http.caller import Caller
from holdfast.session.http.errors import unauthenticated

MAX_KEY_CHARACTERS: Final = 512
"""A longer key is refused without a look-up."""


def key_of(headers: Headers) -> str:
    """The key that the request carries, or an empty string."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-api-key", "").strip()


async def authenticate(headers: Headers, keys: ApiKeys) -> Caller:
    """Whose key it is. Raises the same ApiError 401 for a missing, an unknown and a revoked key."""
    key = key_of(headers)
    if not key or len(key) > MAX_KEY_CHARACTERS:
        raise unauthenticated()
    record = await keys.find(key)
    if record is None:
        raise unauthenticated()
    return Caller(tenant=record.tenant, role=record.acts_as, key_id=record.id, key_name=record.name)
