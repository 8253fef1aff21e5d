"""A model endpoint on a bare socket: it does with a request whatever a test says, also what no HTTP server would."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

import msgspec

STREAM: tuple[str, ...] = (
    '{"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}}',
    '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
    '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}',
    '{"type":"content_block_stop","index":0}',
    '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}',
    '{"type":"message_stop"}',
)
"""The events of a whole response that says Hello."""


def frame(data: str) -> bytes:
    """One server-sent event."""
    return f"data: {data}\n\n".encode()


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body; of no bytes: its end."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def head(status: int = 200, size: int | None = None, /, **headers: str) -> bytes:
    """Status line and headers; the body is chunked if its size is not given. `_` in names of headers means `-`."""
    length = "transfer-encoding: chunked" if size is None else f"content-length: {size}"
    lines = [f"HTTP/1.1 {status} x", length, *(f"{name.replace('_', '-')}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def answer(status: int, body: str = "{}", **headers: str) -> bytes:
    """A whole answer with a body of JSON."""
    headers = {"content_type": "application/json", **headers}
    return head(status, len(body.encode()), **headers) + body.encode()


def stream(*events: str, **headers: str) -> bytes:
    """A whole stream of these events, or of STREAM."""
    return head(**headers) + chunk(b"".join(map(frame, events or STREAM))) + chunk(b"")


class Received(msgspec.Struct):
    """One request, and the connection on which it came: 1 for the first."""

    line: str
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes
    connection: int


class RawModel:
    """Answers each request by `respond(request, writer)`; closes the connection if that returns False.

    `respond` is cancelled when the client closes the connection.
    """

    def __init__(self, respond: Callable[[Received, asyncio.StreamWriter], Awaitable[bool | None]]) -> None:
        self._respond = respond
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[Received] = []
        self.connections = 0
        self.closed = asyncio.Event()
        """Set when a client has closed a connection."""
        self.url = ""

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer, self.connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = [line.partition(":") for line in lines[1:] if line]
                headers = {name.lower(): text.strip() for name, _, text in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = Received(lines[0], headers, body, number)
                self.requests.append(request)
                responding = asyncio.ensure_future(self._respond(request, writer))
                while not responding.done() and not reader.at_eof():
                    await asyncio.wait([responding], timeout=0.02)
                if reader.at_eof():
                    self.closed.set()
                    responding.cancel()
                    await asyncio.gather(responding, return_exceptions=True)
                    return
                await writer.drain()
                if await responding is False:
                    return
        except (asyncio.IncompleteReadError, OSError):
            self.closed.set()
        finally:
            writer.close()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def raw_model(
    respond: bytes | Callable[[Received, asyncio.StreamWriter], Awaitable[bool | None]],
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[RawModel]:
    """A running endpoint. Bytes: send them and close the connection."""

    async def send(_: Received, writer: asyncio.StreamWriter) -> bool:
        assert isinstance(respond, bytes)
        writer.write(respond)
        return False

    model = RawModel(send if isinstance(respond, bytes) else respond)
    server = await asyncio.start_server(model.accept, "127.0.0.1", 0, ssl=tls)
    model.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield model
    finally:
        server.close()
        await model.stop()
