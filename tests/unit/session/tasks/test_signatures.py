"""Signatures of webhooks: the published vectors, and everything that must not pass."""

import base64
import hashlib
import hmac
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.session.tasks.signatures import BadSignature, Scheme, SignatureConfig, key_of, verify

NOW = 1_614_265_330
GITHUB, STRIPE, STANDARD = (SignatureConfig(scheme=scheme) for scheme in ("github", "stripe", "standard"))

# GitHub, "Validating webhook deliveries", "Testing the webhook payload validation".
GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_BODY = b"Hello, World!"
GITHUB_HEADERS = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}

# The vector of the tests of Standard Webhooks.
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_BODY = b'{"test": 2432232314}'
STANDARD_HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(NOW),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}

STRIPE_SECRET = "whsec_test_secret"
STRIPE_BODY = b'{"id": "evt_1"}'

OTHER = {
    "github": "another secret",
    "stripe": "another secret",
    "standard": "whsec_" + base64.b64encode(b"x" * 24).decode(),
}


def hexed(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def stripe_header(secret: str = STRIPE_SECRET, at: int = NOW, body: bytes = STRIPE_BODY) -> str:
    return f"t={at},v1={hexed(secret, f'{at}.'.encode() + body)}"


STRIPE_HEADERS = {"stripe-signature": stripe_header()}

CASES = {
    "github": (GITHUB, GITHUB_HEADERS, GITHUB_BODY, GITHUB_SECRET),
    "stripe": (STRIPE, STRIPE_HEADERS, STRIPE_BODY, STRIPE_SECRET),
    "standard": (STANDARD, STANDARD_HEADERS, STANDARD_BODY, STANDARD_SECRET),
}
Case = tuple[SignatureConfig, dict[str, str], bytes, str]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def refused(config: SignatureConfig, headers: Mapping[str, str], body: bytes, *secrets: str, now: int = NOW) -> str:
    with pytest.raises(BadSignature) as bad:
        verify(config, headers, body, secrets, now=now)
    return str(bad.value)


def test_a_good_signature_passes(case: Case) -> None:
    config, headers, body, secret = case
    verify(config, headers, body, [secret], now=NOW)


def test_two_secrets_are_valid_while_one_is_replaced(case: Case) -> None:
    config, headers, body, secret = case
    other = OTHER[config.scheme]
    verify(config, headers, body, [other, secret], now=NOW)
    verify(config, headers, body, [secret, other], now=NOW)
    assert "no secret of the binding" in refused(config, headers, body, other)
    assert "no secret of the binding" in refused(config, headers, body)


def test_another_body_does_not_pass(case: Case) -> None:
    config, headers, body, secret = case
    for changed in (b"", body + b" ", body[:-1], b"x" + body):
        assert refused(config, headers, changed, secret)


def test_a_header_that_is_missing_does_not_pass(case: Case) -> None:
    config, headers, body, secret = case
    for name in headers:
        assert refused(config, {one: value for one, value in headers.items() if one != name}, body, secret)
        assert refused(config, headers | {name: ""}, body, secret)


@given(junk=st.text(), scheme=st.sampled_from(sorted(CASES)))
def test_no_text_in_a_header_passes_or_breaks_anything(junk: str, scheme: str) -> None:
    config, headers, body, secret = CASES[scheme]
    for name in headers:
        for value in (junk, headers[name] + junk + "x", "v1," + junk, "sha256=" + junk, f"t={NOW},v1={junk}"):
            if value != headers[name] and not (scheme == "stripe" and value.startswith(headers[name] + ",")):
                refused_or_same(config, headers | {name: value}, body, secret)


def refused_or_same(config: SignatureConfig, headers: Mapping[str, str], body: bytes, secret: str) -> None:
    try:
        verify(config, headers, body, [secret], now=NOW)
    except BadSignature:
        return
    # More signatures beside the good one are allowed; they are separated from it.
    assert headers.get("webhook-signature", "").split()[:1] == [STANDARD_HEADERS["webhook-signature"]]


# --- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["stripe", "standard"])
def test_a_signature_is_valid_for_its_tolerance(scheme: str) -> None:
    config, headers, body, secret = CASES[scheme]
    for now in (NOW - 300, NOW + 300):
        verify(config, headers, body, [secret], now=now)
    for now in (NOW - 301, NOW + 301):
        assert "more than 300 s" in refused(config, headers, body, secret, now=now)
    short = SignatureConfig(scheme=config.scheme, tolerance_seconds=10)
    assert "more than 10 s" in refused(short, headers, body, secret, now=NOW + 11)


def test_the_timestamp_is_signed() -> None:
    later = NOW + 1000
    assert refused(STRIPE, {"stripe-signature": stripe_header().replace(str(NOW), str(later))}, STRIPE_BODY,
                   STRIPE_SECRET, now=later)  # fmt: skip
    assert refused(STANDARD, STANDARD_HEADERS | {"webhook-timestamp": str(later)}, STANDARD_BODY, STANDARD_SECRET,
                   now=later)  # fmt: skip


@pytest.mark.parametrize("at", ["", "-1", "1e9", "1614265330.0", " 1614265330", "9" * 13, "١٦١٤٢٦٥٣٣٠"])
def test_a_timestamp_is_a_number_of_seconds(at: str) -> None:
    signed = hexed(STRIPE_SECRET, f"{at}.".encode() + STRIPE_BODY)
    assert "not a number" in refused(STRIPE, {"stripe-signature": f"t={at},v1={signed}"}, STRIPE_BODY, STRIPE_SECRET)


# --- forms ---------------------------------------------------------------------------------------------------------


def test_stripe_sends_several_signatures_while_a_secret_is_replaced() -> None:
    old = stripe_header("the old secret").partition(",")[2]
    new = stripe_header().partition(",")[2]
    header = f"t={NOW}, {old}, {new}, v0={'0' * 64}"
    verify(STRIPE, {"stripe-signature": header}, STRIPE_BODY, [STRIPE_SECRET], now=NOW)
    assert "known version" in refused(
        STRIPE, {"stripe-signature": stripe_header().replace("v1", "v0")}, STRIPE_BODY, STRIPE_SECRET
    )
    assert "one timestamp" in refused(
        STRIPE, {"stripe-signature": f"t={NOW - 1}," + stripe_header()}, STRIPE_BODY, STRIPE_SECRET
    )


def test_a_stripe_style_signature_may_have_another_header() -> None:
    config = SignatureConfig(scheme="stripe", header="x-shop-signature")
    verify(config, {"x-shop-signature": stripe_header()}, STRIPE_BODY, [STRIPE_SECRET], now=NOW)
    assert "x-shop-signature" in refused(config, STRIPE_HEADERS, STRIPE_BODY, STRIPE_SECRET)


def test_standard_webhooks_may_send_other_versions_beside_ours() -> None:
    value = f"v1a,{'A' * 88} v2,x {STANDARD_HEADERS['webhook-signature']} v1,===="
    verify(STANDARD, STANDARD_HEADERS | {"webhook-signature": value}, STANDARD_BODY, [STANDARD_SECRET], now=NOW)
    asymmetric = STANDARD_HEADERS["webhook-signature"].replace("v1,", "v1a,")
    assert "known version" in refused(
        STANDARD, STANDARD_HEADERS | {"webhook-signature": asymmetric}, STANDARD_BODY, STANDARD_SECRET
    )


def test_a_dot_in_the_id_cannot_shift_the_signed_text() -> None:
    """The text `a.1614265330.5.{}` is that of the id `a` with the body `5.{}`, and of `a.1614265330` at 5 with `{}`."""
    key = key_of("standard", STANDARD_SECRET)
    made = base64.b64encode(hmac.digest(key, f"a.{NOW}.5.{{}}".encode(), "sha256")).decode()
    signature = {"webhook-signature": f"v1,{made}"}
    verify(
        STANDARD, {"webhook-id": "a", "webhook-timestamp": str(NOW), **signature}, b"5.{}", [STANDARD_SECRET], now=NOW
    )
    shifted = {"webhook-id": f"a.{NOW}", "webhook-timestamp": "5", **signature}
    assert "without a dot" in refused(STANDARD, shifted, b"{}", STANDARD_SECRET, now=5)


def test_github_sends_lower_case_hex_with_its_algorithm() -> None:
    digest = GITHUB_HEADERS["x-hub-signature-256"].removeprefix("sha256=")
    verify(GITHUB, {"x-hub-signature-256": "sha256=" + digest.upper()}, GITHUB_BODY, [GITHUB_SECRET], now=NOW)
    for value in (digest, "sha1=" + digest, "sha256=" + digest[:40], "sha256= " + digest, "sha256=" + digest + "00"):
        assert refused(GITHUB, {"x-hub-signature-256": value}, GITHUB_BODY, GITHUB_SECRET)


# --- secrets -------------------------------------------------------------------------------------------------------


def test_a_secret_of_standard_webhooks_is_base64_behind_its_prefix() -> None:
    key = bytes(range(24))
    encoded = base64.b64encode(key).decode()
    for secret in ("whsec_" + encoded, encoded, "whsec_" + encoded.rstrip("=")):
        assert key_of("standard", secret) == key


@pytest.mark.parametrize(
    ("scheme", "secret"),
    [("github", "short"), ("stripe", ""), ("standard", "whsec_"), ("standard", "whsec_!!!!"), ("standard", "whsec_ü"),
     ("standard", "whsec_" + "QUJD"), ("standard", "whsec_" + "A" * 1024)],
)  # fmt: skip
def test_a_secret_that_is_none_is_refused_without_being_repeated(scheme: Scheme, secret: str) -> None:
    with pytest.raises(ValueError, match="a secret must") as wrong:
        key_of(scheme, secret)
    assert len(secret) < 8 or secret.removeprefix("whsec_") not in str(wrong.value)
