"""A TCP proxy between a client and a server that can drop answers, inject bytes, or cut the connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Proxy:
    """Passes bytes both ways. It drops or cuts only when told to, and never changes or reorders bytes."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.drop_answers = False
        """Set to True: drop all bytes of the server from now on, on the present connections for good."""
        self.drop_once = b""
        """Drop the next bytes of the server that contain this. On an idle connection they are one message."""
        self.bytes_to_server = 0
        """Number of bytes that clients have sent to the server."""
        self.dropped = asyncio.Event()
        """Set when an answer was dropped: the server has carried the request out."""

    @property
    def url(self) -> str:
        assert self._server
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def inject(self, data: bytes) -> None:
        """Send these bytes to every client as if the server had. The server must be silent meanwhile."""
        for writer in self._clients:
            writer.write(data)

    def cut(self) -> None:
        """Break every connection now; new connections work again."""
        self.drop_answers = False
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        self._clients.add(writer)
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, up_writer, answers=False))
                group.create_task(self._pass(up_reader, writer, answers=True))
        finally:
            for one in (writer, up_writer):
                one.transport.abort()
                self._writers.discard(one)
            self._clients.discard(writer)
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        dropping = False
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                dropping = dropping or (answers and self.drop_answers)
                if answers and self.drop_once and self.drop_once in data:
                    self.drop_once = b""
                    self.dropped.set()
                    continue
                if dropping:
                    self.dropped.set()
                    continue
                writer.write(data)
                await writer.drain()
                self.bytes_to_server += 0 if answers else len(data)
        writer.transport.abort()


@contextlib.asynccontextmanager
async def proxy(port: int) -> AsyncIterator[Proxy]:
    """A proxy in front of `port` on loopback."""
    running = Proxy(port)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()
