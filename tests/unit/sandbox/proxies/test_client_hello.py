"""The first message of TLS: what a real client sends is read, and what could be read in two ways is refused."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sandbox.proxies.client_hello import HELLO_BYTES, Hello, NotTls, read_hello
from tests.support.client_hello import extension, message, names, real_hello, records, vector

REAL = real_hello("Api.example.com")


def test_a_real_client() -> None:
    assert read_hello(REAL) == Hello("Api.example.com", hides_name=False)
    assert read_hello(real_hello(None)) == Hello("", hides_name=False)
    old = real_hello("a.example", maximum_version=ssl.TLSVersion.TLSv1_2)
    assert read_hello(old) == Hello("a.example", hides_name=False)


def test_it_waits_for_the_whole_message() -> None:
    for end in range(len(REAL)):
        assert read_hello(REAL[:end]) is None
    assert read_hello(REAL + b"\x17\3\3\0\1x") == read_hello(REAL)  # early data comes in records of its own


@pytest.mark.parametrize("size", [1, 3, 4, 5, 100])
def test_a_message_in_many_records(size: int) -> None:
    split = records(REAL[5:], size)
    assert read_hello(split) == read_hello(REAL)
    assert read_hello(split[:-1]) is None


def test_a_hidden_name_is_seen() -> None:
    assert read_hello(records(message(names(b"front.example"), extension(0xFE0D, b"\0")))) == Hello(
        "front.example", hides_name=True
    )


def test_a_client_without_extensions() -> None:
    body = b"\3\3" + bytes(32) + vector(1, b"") + vector(2, b"\x13\x01") + vector(1, b"\0")
    assert read_hello(records(b"\1" + vector(3, body))) == Hello("", hides_name=False)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\x80\x2e\1\3\1",  # SSL 2
        b"\x16\3\1\0\0",
        b"\x16\3\1\xff\xff" + b"\1" * 10,
        records(b"\2" + vector(3, b"x")),
        records(message(names(b"a.example", b"b.example"))),
        records(message(names(b"a.example"), names(b"b.example"))),
        records(message(names(b"a.example", kind=1))),
        records(message(names("bücher.example".encode()))),
        records(message(extension(0, b""))),
        records(message(extension(0, vector(2, b"\0\0\3a")))),
        records(message(names(b"a.example"), after=b"x")),
        records(message(names(b"a.example")) + b"\1\0\0\0"),
        records(b"\1" + vector(3, b"\3\3")),
        records(message(extension(21, bytes(HELLO_BYTES)))),
        records(b"\1" + b"\xff\xff\xff" + bytes(100)),
    ],
)
def test_all_else_is_refused(data: bytes) -> None:
    with pytest.raises(NotTls) as caught:
        read_hello(data)
    assert str(caught.value)


def test_endless_small_records_are_refused() -> None:
    endless = records(message(extension(21, bytes(15_000))), 1)
    with pytest.raises(NotTls, match="too long"):
        read_hello(endless[: 3 * HELLO_BYTES])


@given(st.binary(max_size=300), st.integers(0, len(REAL)))
def test_no_bytes_raise_anything_else(noise: bytes, at: int) -> None:
    for data in (noise, REAL[:at] + noise, REAL[:at] + noise + REAL[at:], b"\x16\3\1" + noise):
        try:
            hello = read_hello(data)
        except NotTls:
            continue
        assert hello is None or isinstance(hello, Hello)
