from pathlib import Path

import pytest

from holdfast.cli.client.target import NoStack, find


def test_a_stack_is_found_by_its_folder_or_its_address(tmp_path: Path) -> None:
    with pytest.raises(NoStack, match="holdfast up"):
        find(tmp_path, {})
    with pytest.raises(NoStack, match="HOLDFAST_API_KEY"):
        find(None, {"HOLDFAST_BASE_URL": "http://x"})
    found = find(None, {"HOLDFAST_BASE_URL": "http://x", "HOLDFAST_API_KEY": "k"})
    assert (found.base_url, found.api_key, found.local) == ("http://x", "k", None)
    with pytest.raises(NoStack, match=str(tmp_path)):
        find(None, {"HOLDFAST_DATA": str(tmp_path)})


@pytest.mark.parametrize(
    "url",
    ["localhost:8700", "x", "//x", "ftp://x", "http://", "http://[::1", "http://x:abc", "http://x:99999", "http://x:0",
     "http://a b", "http://x\n", "http://x\x01"],
)  # fmt: skip
def test_an_address_to_which_no_request_can_be_sent_is_refused(url: str) -> None:
    with pytest.raises(NoStack, match=r"HOLDFAST_BASE_URL is no address such as http://127\.0\.0\.1:8700: ") as refused:
        find(None, {"HOLDFAST_BASE_URL": url, "HOLDFAST_API_KEY": "k"})
    assert str(refused.value).isprintable()


def test_the_password_of_a_wrong_address_is_not_shown() -> None:
    with pytest.raises(NoStack) as refused:
        find(None, {"HOLDFAST_BASE_URL": "http://u:secret@x:abc", "HOLDFAST_API_KEY": "k"})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://[::1]:8700", "https://agents.example.com/holdfast", "http://ü.example:1"])
def test_other_addresses_are_taken(url: str) -> None:
    assert find(None, {"HOLDFAST_BASE_URL": url, "HOLDFAST_API_KEY": "k"}).base_url == url


@pytest.mark.parametrize("key", ["ü", "a b", "a\n", "a\r\nx: y", "\x7f"])
def test_a_key_that_no_request_can_carry_is_refused(key: str) -> None:
    with pytest.raises(NoStack, match="HOLDFAST_API_KEY is no API key") as refused:
        find(None, {"HOLDFAST_BASE_URL": "http://x", "HOLDFAST_API_KEY": key})
    assert key not in str(refused.value)
