"""The secrets of one webhook as they are stored: the one in use, and those before it whose time is not over. Pure.

A signature is that of Standard Webhooks, version 1: HMAC-SHA256 with a secret, in base64. While a secret is being
replaced there are several, with spaces between them, and a receiver takes the one that it can verify.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

import msgspec
from msgspec.structs import replace

from holdfast.bus.records import decode_record
from holdfast.bus.times import time_text
from holdfast.vault.errors import Conflict

PREFIX: Final = "whsec_"
"""The first characters of a secret; its key in base64 follows."""

MIN_KEY_BYTES: Final = 24
MAX_KEY_BYTES: Final = 64
"""Bytes of a key, by the specification."""

MAX_VALID: Final = 5
"""Secrets that sign at the same time: as many signatures are in a header, and a lost answer costs one."""


class EarlierSecret(msgspec.Struct, frozen=True):
    """A secret that was replaced. It signs until `until`, in microseconds since 1970."""

    secret: str
    until: int


class WebhookKeys(msgspec.Struct, frozen=True, kw_only=True):
    """`earlier`: newest first."""

    v: int = 1
    secret: str
    earlier: list[EarlierSecret] = []

    def valid_at(self, now: int) -> "WebhookKeys":
        """Without the secrets whose time is over; itself if there are none."""
        earlier = [one for one in self.earlier if one.until > now]
        return self if len(earlier) == len(self.earlier) else replace(self, earlier=earlier)

    def rotated(self, secret: str, *, overlap_us: int, now: int) -> "WebhookKeys":
        """With a new secret; each of the present ones stays valid for `overlap_us` at most. Raises Conflict."""
        until = now + overlap_us
        present = [EarlierSecret(self.secret, until)]
        present += [EarlierSecret(one.secret, min(one.until, until)) for one in self.earlier]
        after = replace(self, secret=secret, earlier=present).valid_at(now)
        if len(after.earlier) >= MAX_VALID:
            free_at = time_text(min(one.until for one in self.earlier))
            raise Conflict(
                f"{MAX_VALID} secrets are valid already; wait until {free_at}, or end them with an overlap of 0"
            )
        return after

    def signature(self, content: bytes) -> str:
        """The signatures of the content by all secrets, as the header `webhook-signature` has them."""
        return " ".join(_signature(secret, content) for secret in (self.secret, *(one.secret for one in self.earlier)))


def decode(text: str) -> WebhookKeys:
    """What is stored: a secret alone, or, once it was replaced, an object. Raises Newer and Damaged."""
    return WebhookKeys(secret=text) if is_secret(text) else decode_record(WebhookKeys, text)


def encode(keys: WebhookKeys) -> str:
    return msgspec.json.encode(keys).decode()


def is_secret(text: str) -> bool:
    """Whether it is `whsec_` and a key of an allowed length in base64."""
    try:
        return text.startswith(PREFIX) and MIN_KEY_BYTES <= len(_key(text)) <= MAX_KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)


def _signature(secret: str, content: bytes) -> str:
    return f"v1,{base64.b64encode(hmac.digest(_key(secret), content, hashlib.sha256)).decode()}"
