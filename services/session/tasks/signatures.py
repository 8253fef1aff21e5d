"""Signatures of webhooks: HMAC-SHA256 over the body, in the three forms that services use. Pure.

    github     X-Hub-Signature-256: sha256=<hex>                      over the body
    stripe     Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>…]      over `<t>.<body>`
    standard   webhook-signature: v1,<base64>[ v1,<base64>…]           over `<webhook-id>.<webhook-timestamp>.<body>`

Sources: GitHub, "Validating webhook deliveries"; Stripe, "Verify webhook signatures"; Standard Webhooks 1.0.0. Every
secret is tried with every signature, in constant time, so that a secret can be replaced while both are in use.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

Scheme = Literal["github", "stripe", "standard"]

DEFAULT_TOLERANCE_S: Final = 300
"""Seconds by which a signed timestamp may differ from the clock, as Stripe and Standard Webhooks recommend."""

MAX_SIGNATURES: Final = 16
"""Signatures of one request that are looked at; a sender that replaces a secret sends two."""

MIN_SECRET_CHARS: Final = 8
"""Characters of a secret that the operator chooses himself (GitHub)."""

_STANDARD_KEY_BYTES: Final = (16, 512)
"""Bytes of a key of Standard Webhooks. The specification asks for 24 at least; some of its senders have fewer."""

_HEADERS: Final[dict[Scheme, str]] = {
    "github": "x-hub-signature-256",
    "stripe": "stripe-signature",
    "standard": "webhook-signature",
}
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}")
_ID: Final = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,256}")
"""An id of Standard Webhooks. Without a dot: with one, two requests would have the same signed text."""


class SignatureConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How requests for a binding are signed. Its secrets are kept in the vault."""

    scheme: Scheme
    header: str = ""
    """Of `stripe`: the header that has the signature, in lower case; empty: `stripe-signature`."""
    tolerance_seconds: int = DEFAULT_TOLERANCE_S
    secrets_id: str = ""
    """Of its secrets in the vault; other secrets have another id."""


class BadSignature(Exception):
    """The request was not signed with a secret of the binding, or too long ago. The text is for our log."""


def key_of(scheme: Scheme, secret: str) -> bytes:
    """The key in a secret as its service shows it. Raises ValueError, which does not repeat the secret."""
    if scheme != "standard":
        if len(secret) < MIN_SECRET_CHARS:
            raise ValueError(f"a secret must have at least {MIN_SECRET_CHARS} characters")
        return secret.encode()
    encoded = secret.removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a secret must be `whsec_` and base64") from None
    least, most = _STANDARD_KEY_BYTES
    if not least <= len(key) <= most:
        raise ValueError(f"a secret must have {least} to {most} bytes")
    return key


def verify(
    config: SignatureConfig, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], *, now: int
) -> None:
    """Return if a secret of the binding has signed the request. Raises BadSignature.

    `headers` have names in lower case; `now` is in seconds since 1970. Raises ValueError for a secret that is none.
    """
    keys = [key_of(config.scheme, secret) for secret in secrets]
    header = config.header or _HEADERS[config.scheme]
    value = headers.get(header, "")
    if not value:
        raise BadSignature(f"the request has no header {header}")
    match config.scheme:
        case "github":
            signed, found = (
                body,
                _hex_signatures([value.removeprefix("sha256=")] if value.startswith("sha256=") else []),
            )
        case "stripe":
            signed, found = _stripe(config, value, body, now)
        case "standard":
            signed, found = _standard(config, headers, value, body, now)
    if not found:
        raise BadSignature(f"the header {header} has no signature of a known version")
    expected = [hmac.digest(key, signed, "sha256") for key in keys]
    # A list and not a generator: the time does not tell which secret or which signature was right.
    if not any([hmac.compare_digest(one, other) for one in expected for other in found]):  # noqa: C419
        raise BadSignature("no secret of the binding has made the signature")


def _stripe(config: SignatureConfig, value: str, body: bytes, now: int) -> tuple[bytes, list[bytes]]:
    times: list[str] = []
    signatures: list[str] = []
    for part in value.split(","):
        name, _, text = part.strip().partition("=")
        if name == "t":
            times.append(text)
        elif name == "v1":
            signatures.append(text)
    if len(times) != 1:
        raise BadSignature("the signature must have one timestamp `t`")
    _check_time(times[0], config, now)
    return times[0].encode() + b"." + body, _hex_signatures(signatures)


def _standard(
    config: SignatureConfig, headers: Mapping[str, str], value: str, body: bytes, now: int
) -> tuple[bytes, list[bytes]]:
    webhook_id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not _ID.fullmatch(webhook_id):
        raise BadSignature("webhook-id must be printable ASCII without a dot")
    _check_time(at, config, now)
    found: list[bytes] = []
    for part in value.split()[:MAX_SIGNATURES]:
        version, _, text = part.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                continue
    return f"{webhook_id}.{at}.".encode() + body, found


def _check_time(text: str, config: SignatureConfig, now: int) -> None:
    if not _SECONDS.fullmatch(text):
        raise BadSignature("the timestamp is not a number of seconds")
    if abs(now - int(text)) > config.tolerance_seconds:
        raise BadSignature(f"the timestamp differs from the clock by more than {config.tolerance_seconds} s")


def _hex_signatures(texts: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts[:MAX_SIGNATURES] if _HEX.fullmatch(text)]
