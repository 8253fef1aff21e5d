"""The field `signature` of a binding: as clients give it, and as they see it. Pure. Raises ApiError 400."""

from typing import Annotated

import msgspec
from msgspec import Meta

from holdfast.session.http.errors import invalid
from holdfast.session.tasks.signatures import DEFAULT_TOLERANCE_S, Scheme, SignatureConfig, key_of

Secret = Annotated[str, Meta(min_length=1, max_length=1024)]
Secrets = Annotated[list[Secret], Meta(min_length=1, max_length=4)]
HeaderName = Annotated[str, Meta(pattern="^[A-Za-z0-9-]{1,64}$")]
Tolerance = Annotated[int, Meta(ge=1, le=3600)]


class SignatureParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How webhooks are signed. `secrets` are kept in the vault and shown nowhere; an update without them keeps them."""

    scheme: Scheme
    secrets: Secrets | None = None
    header: HeaderName | None = None
    """Of `stripe`: the header that has the signature, if it is not `Stripe-Signature`."""
    tolerance_seconds: Tolerance = DEFAULT_TOLERANCE_S


class SignatureObject(msgspec.Struct, frozen=True, kw_only=True):
    """How webhooks are signed, without the secrets."""

    scheme: Scheme
    header: str | None
    tolerance_seconds: int


def changed(before: SignatureConfig | None, given: SignatureParams) -> SignatureConfig:
    """The configuration. It names the secrets of `before`, unless new ones are given: these are stored elsewhere."""
    if given.header and given.scheme != "stripe":
        raise invalid(f"signature.header: the header of `{given.scheme}` is fixed")
    for n, secret in enumerate(given.secrets or ()):
        try:
            key_of(given.scheme, secret)
        except ValueError as exc:
            raise invalid(f"signature.secrets[{n}]: {exc}") from None
    if not given.secrets and (before is None or before.scheme != given.scheme):
        raise invalid("signature.secrets: give the secret with which the other system signs")
    return SignatureConfig(
        scheme=given.scheme,
        header=(given.header or "").lower(),
        tolerance_seconds=given.tolerance_seconds,
        secrets_id=before.secrets_id if before and not given.secrets else "",
    )


def shown(config: SignatureConfig | None) -> SignatureObject | None:
    """What clients see."""
    if config is None:
        return None
    return SignatureObject(
        scheme=config.scheme, header=config.header or None, tolerance_seconds=config.tolerance_seconds
    )
