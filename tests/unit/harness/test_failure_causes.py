"""What headers and addresses tell of a failed request."""

import pytest

from holdfast.harness.main import check_address, endpoint
from holdfast.harness.models.failure_causes import request_id, retry_after, without_credentials
from holdfast.harness.settings import HarnessSettings
from holdfast.process.settings import BadSettings

NOW = 1_700_000_000.0
"""Tue, 14 Nov 2023 22:13:20 GMT."""


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "inf"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": "-inf"}, 0),
        ({"retry-after": "1e309"}, 0),
        ({"retry-after-ms": "inf", "retry-after": "9"}, 9),
        ({"retry-after": "7, 9"}, 0),
        ({"retry-after": "Tue, 14 Nov 2023 22:14:00 -0000"}, 40),
        ({"retry-after": "9999999999"}, 9_999_999_999),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": ""}, 0),
        ({"retry-after": "Tue, 14 Nov 2023 22:14:00 GMT"}, 40),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:00 GMT"}, 0),
        ({"retry-after": "Tue, 14 Nov 99999 22:13:00 GMT"}, 0),
    ],
)
def test_retry_after_is_a_time_to_wait_or_none(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, ""),
        ({"request-id": "req_1", "x-request-id": "2"}, "req_1"),
        ({"x-request-id": "a.b:c-d"}, "a.b:c-d"),
        ({"x-amzn-requestid": "5f0a"}, "5f0a"),
        ({"request-id": "<b>", "x-request-id": "2"}, "2"),
        ({"request-id": "x" * 129}, ""),
    ],
)
def test_an_id_of_a_request_is_a_short_word(headers: dict[str, str], found: str) -> None:
    assert request_id(headers) == found


@pytest.mark.parametrize(
    "url", ["ftp://a", "127.0.0.1:9", "http://", "http://a:99999", "http://a:0", "http://[::1", "", "http://u:p@a"]
)
def test_an_address_that_no_request_can_be_sent_to(url: str) -> None:
    with pytest.raises(BadSettings, match="HOLDFAST_MODEL_BASE_URL") as wrong:
        endpoint(HarnessSettings(model_base_url=url))
    assert "u:p" not in str(wrong.value)


def test_addresses_that_are_taken() -> None:
    for url in ("https://api.anthropic.com", "http://127.0.0.1:8080/v1", "http://[::1]:80"):
        check_address(url)
    assert without_credentials("http://u:p@host:80/path?key=secret#x") == "http://host:80/path"


def test_the_endpoint_of_the_settings() -> None:
    made = endpoint(HarnessSettings(model_betas=" a-1, b-2,,", model_auth="x-api-key", model_silence=7))
    assert (made.base_url, made.betas, made.auth, made.silence) == (
        "https://api.anthropic.com", ("a-1", "b-2"), "x-api-key", 7
    )  # fmt: skip
    assert endpoint(HarnessSettings(model="bedrock")).base_url == ""
    assert endpoint(HarnessSettings(model="bedrock", model_base_url="http://127.0.0.1:1")).base_url != ""
