"""Keys and other credentials are in no text of an endpoint that enters the log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.harness.models.json_objects import whole_characters
from holdfast.harness.models.sanitize import sanitize
from holdfast.harness.models.scrub import ERROR_READ_CHARS, Scrubber

KEY = "sk-canary-0123456789"


def error(text: str) -> str:
    return Scrubber(KEY).error(text)


def test_a_key_that_the_limit_would_cut_in_half_is_not_told() -> None:
    for before in range(480, 501):
        assert "canary" not in error("x" * before + KEY)
    assert "canary" not in error(" " * (ERROR_READ_CHARS - 10) + KEY)
    assert error(f"wrong key {KEY[:-4]}") == "wrong key "


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Authorization: Bearer abc123.DEF_456", "Authorization: Bearer ***"),
        ("upstream key sk-proj-0a1b2c3d4e5f6g7h is wrong", "upstream key *** is wrong"),
        ("proxy http://user:pass@host:80/ is away", "proxy http://***@host:80/ is away"),
        ('{"api_key":"0123456789abcdef","n":1}', '{"api_key":"***","n":1}'),
        ("AKIAIOSFODNN7EXAMPLE is not authorized", "*** is not authorized"),
        ("token eyJhbGciOi.eyJzdWIiOiIx.c2ln has expired", "token *** has expired"),
        ("Basic dXNlcjpzZWNyZXQ0 was refused", "Basic *** was refused"),
    ],
)
def test_what_looks_like_a_credential_is_not_told(text: str, told: str) -> None:
    assert error(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "invalid x-api-key",
        "Bearer authentication is required",
        "basic information: max_tokens: 9999999999 > 8192",
        "prompt is too long: 1000000 tokens > 200000 maximum",
        "messages.0.content: Field required",
        "model: claude-sonnet-5-5-20261001 not found",
    ],
)
def test_errors_are_told_as_they_are(text: str) -> None:
    assert error(text) == text


def test_a_placeholder_for_a_key_is_no_key_in_answers() -> None:
    assert Scrubber("any").value({"any": "in any case"}) == {"any": "in any case"}
    assert Scrubber("").value("text") == "text"


@given(st.text(alphabet="ab", min_size=1, max_size=4), st.lists(st.text(alphabet="ab", max_size=6), max_size=12))
def test_a_filter_tells_what_a_replacement_of_the_whole_text_tells(seed: str, pieces: list[str]) -> None:
    key = (seed * 12)[:12]
    filtered = Scrubber(key).filter()
    told = "".join(filtered.feed(piece) for piece in pieces) + filtered.end()
    assert key not in told
    assert told.count("***") == "".join(pieces).count(key)


@given(st.text(alphabet=st.sampled_from("a\ud83d\ude00\u00e9"), max_size=12))
def test_what_is_sanitized_can_be_encoded(text: str) -> None:
    assert whole_characters(text) == sanitize(text)
    sanitize(text).encode()
    assert sanitize("a\ud83d\ude00\0") == "a\U0001f600"
