"""A plain request through the proxy: whose it is, and what of it the server gets."""

import h11
import pytest

from holdfast.sandbox.proxies.egress_http import passed_on, split_url, upstream_request
from holdfast.sandbox.proxies.egress_rules import Refused, Target


@pytest.mark.parametrize(
    ("url", "target", "path"),
    [
        (b"http://a.example", Target("a.example", 80), b"/"),
        (b"HTTP://A.example:8080/x?y=http://b.example/", Target("a.example", 8080), b"/x?y=http://b.example/"),
        (b"http://a.example?q", Target("a.example", 80), b"/?q"),
        (b"http://[2606:4700::1111]/", Target("2606:4700::1111", 80), b"/"),
    ],
)
def test_the_url_names_the_target(url: bytes, target: Target, path: bytes) -> None:
    assert split_url(url) == (target, path)


@pytest.mark.parametrize(
    "url",
    [
        b"/", b"*", b"https://a.example/", b"ftp://a.example/", b"http:///x", b"http://", b"http://a.example@b.example/",
        b"http://a.example:80@b.example/", b"http://a.example#@b.example/", b"http://a.example\\@b.example/",
        b"http://a.example:x/", b"http://a%2eexample/", b"http://127.1/", b"//a.example/", b"a.example:80",
        b"http://a.ex\xc3\xa4mple/",
    ],
)  # fmt: skip
def test_urls_that_are_refused(url: bytes) -> None:
    with pytest.raises(Refused) as caught:
        split_url(url)
    assert caught.value.status == 400


def test_the_server_hears_the_host_of_the_url() -> None:
    request = h11.Request(
        method="POST",
        target="http://a.example/x",
        headers=[
            ("Host", "b.example"), ("Connection", "x-secret, keep-alive"), ("X-Secret", "1"), ("Accept", "*/*"),
            ("Proxy-Authorization", "Basic x"), ("TE", "trailers"), ("Upgrade", "h2c"), ("Content-Length", "3"),
        ],
    )  # fmt: skip
    made = upstream_request(request, Target("a.example", 80), b"/x")
    assert (made.method, made.target) == (b"POST", b"/x")
    assert list(made.headers) == [
        (b"host", b"a.example"), (b"accept", b"*/*"), (b"content-length", b"3"), (b"connection", b"close"),
    ]  # fmt: skip
    assert dict(upstream_request(request, Target("a.example", 81), b"/").headers)[b"host"] == b"a.example:81"
    address = upstream_request(request, Target("2606:4700::1111", 80), b"/")
    assert dict(address.headers)[b"host"] == b"[2606:4700::1111]"


def test_a_body_of_unknown_length_stays_one() -> None:
    request = h11.Request(
        method="PUT", target="http://a.example/", headers=[("Host", "a.example"), ("Transfer-Encoding", "chunked")]
    )
    headers = dict(upstream_request(request, Target("a.example", 80), b"/").headers)
    assert headers[b"transfer-encoding"] == b"chunked"
    assert b"content-length" not in headers


def test_fields_of_one_hop_are_not_passed_on() -> None:
    headers = [(b"connection", b"Close, X-A"), (b"x-a", b"1"), (b"keep-alive", b"1"), (b"set-cookie", b"1")]
    assert passed_on(headers) == [(b"set-cookie", b"1")]
