"""The secrets of a webhook while one is replaced: which sign, in which order, and until when."""

import base64

import msgspec
import pytest

from holdfast.bus.errors import Damaged, Newer
from holdfast.process import clock
from holdfast.session.webhooks.hooks import test_body as sample_body
from holdfast.vault.errors import Conflict
from holdfast.vault.webhook_keys import MAX_VALID, EarlierSecret, WebhookKeys, decode, encode
from tests.support.webhooks import Received

HOUR = 3600 * 1_000_000
SECRETS = ["whsec_" + base64.b64encode(bytes([n]) * 24).decode() for n in range(MAX_VALID + 1)]
A, B, C, *_ = SECRETS


def test_the_new_secret_and_those_before_it_verify_until_their_time_is_over() -> None:
    now = clock.now()
    body = sample_body("whe_1", "whk_1", "default", now).decode()
    content = f"whe_1.{now // 1_000_000}.{body}".encode()
    keys = WebhookKeys(secret=A).rotated(B, overlap_us=HOUR, now=0).rotated(C, overlap_us=2 * HOUR, now=0)
    assert keys.earlier == [EarlierSecret(B, 2 * HOUR), EarlierSecret(A, HOUR)]

    def check(at: int, *valid: str) -> None:
        """By the official SDK, what is signed at that time is verified with these secrets, and with no other."""
        headers = {"webhook-id": "whe_1", "webhook-timestamp": str(now // 1_000_000)}
        headers["webhook-signature"] = keys.valid_at(at).signature(content)
        request = Received("/", headers, body)
        for secret in (A, B, C):
            if secret in valid:
                assert request.event(secret).id == "whe_1"
            else:
                with pytest.raises(Exception, match="No matching signature"):
                    request.event(secret)

    check(0, A, B, C)
    check(HOUR - 1, A, B, C)
    check(HOUR, B, C)
    check(2 * HOUR, C)
    assert keys.valid_at(HOUR - 1) is keys
    assert keys.signature(content).split(" ")[0] == WebhookKeys(secret=C).signature(content)


def test_an_overlap_shortens_the_time_of_earlier_secrets_and_never_prolongs_it() -> None:
    keys = WebhookKeys(secret=A).rotated(B, overlap_us=HOUR, now=0)
    assert keys.rotated(C, overlap_us=9 * HOUR, now=0).earlier == [EarlierSecret(B, 9 * HOUR), EarlierSecret(A, HOUR)]
    assert keys.rotated(C, overlap_us=5, now=0).earlier == [EarlierSecret(B, 5), EarlierSecret(A, 5)]
    assert keys.rotated(C, overlap_us=0, now=0).earlier == []


def test_more_than_so_many_secrets_are_refused_until_one_has_ended() -> None:
    keys = WebhookKeys(secret=A)
    for n, secret in enumerate(SECRETS[1:MAX_VALID]):
        keys = keys.rotated(secret, overlap_us=HOUR, now=n)
    last = SECRETS[MAX_VALID]
    with pytest.raises(Conflict, match=r"wait until 1970-01-01T01:00:00Z|wait until 1970-01-01T01:00:00\.000000Z"):
        keys.rotated(last, overlap_us=HOUR, now=HOUR - 1)
    assert len(keys.rotated(last, overlap_us=HOUR, now=HOUR).earlier) == MAX_VALID - 1
    assert keys.rotated(last, overlap_us=0, now=9).earlier == []


def test_what_is_stored_is_read_again_and_a_newer_form_is_told_from_a_damaged_one() -> None:
    keys = WebhookKeys(secret=A).rotated(B, overlap_us=HOUR, now=1)
    assert decode(encode(keys)) == keys
    assert decode(A) == WebhookKeys(secret=A), "as it is stored before it is replaced for the first time"
    with pytest.raises(Newer):
        decode(msgspec.json.encode({"v": 99}).decode())
    for text in ("", "whsec_", "whsec_short", A + "!", "{}", '{"secret":5}'):
        with pytest.raises(Damaged):
            decode(text)
