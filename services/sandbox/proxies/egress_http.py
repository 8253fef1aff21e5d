"""Passes one plain HTTP request of a sandbox on to its server, and the response back."""

import asyncio
from typing import Any, Final

import h11

from holdfast.sandbox.proxies.egress_rules import HTTP_PORT, Refused, Target, target_of
from holdfast.sandbox.proxies.http_peer import HttpPeer

_OF_ONE_HOP: Final = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"proxy-authenticate", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"host",
})  # fmt: skip
"""Header fields that are not passed on (RFC 9110, section 7.6.1). `host` and the framing are written anew."""

_SCHEME: Final = b"http://"

Headers = list[tuple[bytes, bytes]]


def split_url(url: bytes) -> tuple[Target, bytes]:
    """The target and the path of a request to a proxy (absolute form, RFC 9112). Raises Refused."""
    if url[: len(_SCHEME)].lower() != _SCHEME:
        text = "this is an HTTP proxy: it takes http://… requests, and CONNECT for https and all else"
        raise Refused("malformed", text, 400)
    rest = url[len(_SCHEME) :]
    end = min((at for at in (rest.find(mark) for mark in (b"/", b"?")) if at >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    if b"@" in authority or b"#" in rest or b"\\" in rest:
        raise Refused("malformed", "the URL must have no user, no fragment and no backslash", 400)
    return target_of(authority.decode("ascii", "replace"), HTTP_PORT), (path if path[:1] == b"/" else b"/" + path)


def passed_on(headers: Any) -> Headers:
    """The header fields that concern the next hop too, without those that `connection` names."""
    pairs: Headers = [(bytes(name), bytes(value)) for name, value in headers]
    named = {one.strip().lower() for name, value in pairs if name == b"connection" for one in value.split(b",")}
    return [(name, value) for name, value in pairs if name not in _OF_ONE_HOP and name not in named]


def upstream_request(request: h11.Request, target: Target, path: bytes) -> h11.Request:
    """The request as the server gets it: for the host that was checked, whatever `host` the client has sent."""
    host = str(target) if target.port != HTTP_PORT else str(target).rpartition(":")[0]
    headers = passed_on(request.headers)
    if any(name == b"transfer-encoding" for name, _ in request.headers):
        headers = [(name, value) for name, value in headers if name != b"content-length"]
        headers.append((b"transfer-encoding", b"chunked"))
    headers = [(b"host", host.encode()), *headers, (b"connection", b"close")]
    return h11.Request(method=request.method, target=path, headers=headers)


async def exchange(client: HttpPeer, server: HttpPeer, request: h11.Request) -> None:
    """Send the request and its body to the server, and its response to the client.

    A response that comes before the end of the request body is passed on at once. Raises OSError and h11.ProtocolError.
    """
    await server.send(request)
    upload = asyncio.create_task(_upload(client, server))
    download = asyncio.create_task(_download(server, client))
    try:
        await asyncio.wait([upload, download], return_when=asyncio.FIRST_EXCEPTION)
        if upload.done():
            upload.result()
        if not download.done():  # the client has ended the connection
            raise ConnectionResetError
        download.result()
    finally:
        upload.cancel()
        download.cancel()
        await asyncio.gather(upload, download, return_exceptions=True)


async def _upload(client: HttpPeer, server: HttpPeer) -> None:
    while True:
        event = await client.receive()
        if not isinstance(event, (h11.Data, h11.EndOfMessage)):
            return
        try:
            await server.send(event if isinstance(event, h11.Data) else h11.EndOfMessage())
        except OSError:
            return  # the server takes no more; its response may be there
        if isinstance(event, h11.EndOfMessage):
            return


async def _download(server: HttpPeer, client: HttpPeer) -> None:
    while True:
        event = await server.receive()
        match event:
            case h11.InformationalResponse():
                if event.status_code == 101:  # an upgrade was not asked for
                    raise h11.RemoteProtocolError("101 without a request for it")
                await client.send(h11.InformationalResponse(status_code=event.status_code, headers=[]))
            case h11.Response():
                headers = [*passed_on(event.headers), (b"connection", b"close")]
                await client.send(
                    h11.Response(status_code=event.status_code, headers=headers, reason=bytes(event.reason))
                )
            case h11.Data():
                await client.send(event)
            case h11.EndOfMessage():
                await client.send(h11.EndOfMessage())
                return
            case _:
                raise h11.RemoteProtocolError("the server ended the connection without a response")
