"""The first message of a TLS client: a real one, and ones that no library would send."""

import contextlib
import ssl


def real_hello(name: str | None, **versions: ssl.TLSVersion) -> bytes:
    """The first bytes of a client of this Python."""
    context = ssl.create_default_context()
    context.check_hostname = name is not None
    context.set_alpn_protocols(["h2", "http/1.1"])
    for field, version in versions.items():
        setattr(context, field, version)
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def vector(size: int, content: bytes) -> bytes:
    """The content after its length, in `size` bytes."""
    return len(content).to_bytes(size, "big") + content


def extension(kind: int, content: bytes) -> bytes:
    """One extension of the message."""
    return kind.to_bytes(2, "big") + vector(2, content)


def names(*hosts: bytes, kind: int = 0) -> bytes:
    """The extension that names the server."""
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, host) for host in hosts)))


def message(*extensions: bytes, after: bytes = b"") -> bytes:
    """A message with these extensions, and something behind them."""
    body = b"\3\3" + bytes(32) + vector(1, b"") + vector(2, b"\x13\x01") + vector(1, b"\0")
    return b"\1" + vector(3, body + vector(2, b"".join(extensions)) + after)


def records(handshake: bytes, size: int = 1 << 14) -> bytes:
    """The message in records of at most `size` bytes."""
    parts = [handshake[at : at + size] for at in range(0, len(handshake), size)]
    return b"".join(b"\x16\3\1" + vector(2, part) for part in parts)
