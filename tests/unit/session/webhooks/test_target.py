"""Which addresses an endpoint may have."""

import pytest

from holdfast.session.http.errors import ApiError
from holdfast.session.webhooks.target import MAX_URL_CHARS, check_url, is_named

ACCEPTED = [
    "https://example.com/hooks", "https://example.com", "https://EXAMPLE.com:443/a?b=c", "https://1.1.1.1/x",
    "https://[2606:4700:4700::1111]/x", "https://xn--bcher-kva.example/",
]  # fmt: skip

REFUSED = [
    "", "example.com/hooks", "http://example.com/", "ftp://example.com/", "https://", "https:///x", "//example.com/x",
    "https://example.com:8443/", "https://example.com:80/", "https://example.com:0/", "https://example.com:x/",
    "https://user@example.com/", "https://user:pass@example.com/", "https://:pass@example.com/",
    "https://example.com/#f", "https://exa mple.com/", "https://example.com\\@localhost/", "https://bücher.example/",
    "https://localhost/", "https://intranet/", "https://localhost./", "https://127.0.0.1/", "https://127.1/",
    "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.0x1/", "https://0177.0.0.1/", "https://10.0.0.1/",
    "https://169.254.169.254/latest/meta-data", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[fd00::1]/",
    "https://[fe80::1%25eth0]/", "https://0.0.0.0/", "https://[::]/", "https://100.100.100.200/",
    "https://example.com/\n", "https://example.com/" + "a" * MAX_URL_CHARS,
]  # fmt: skip


@pytest.mark.parametrize("url", ACCEPTED)
def test_accepted(url: str) -> None:
    check_url(url, ())


@pytest.mark.parametrize("url", REFUSED)
def test_refused(url: str) -> None:
    with pytest.raises(ApiError) as wrong:
        check_url(url, ())
    assert wrong.value.status == 400
    assert wrong.value.message.startswith("url: ")


def test_hosts_that_the_operator_names() -> None:
    hosts = {"127.0.0.1", "hooks.internal", "::1"}
    for url in ("http://127.0.0.1:9000/x", "https://Hooks.Internal:8443/", "http://[::1]:1/"):
        check_url(url, hosts)
        assert is_named(url, hosts)
    for url in ("http://127.0.0.2/", "https://x.hooks.internal:8443/", "ftp://127.0.0.1/", "http://a@127.0.0.1/"):
        with pytest.raises(ApiError):
            check_url(url, hosts)
