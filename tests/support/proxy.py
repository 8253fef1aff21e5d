"""A TCP proxy between a client and a server that can swallow what comes back, or cut the connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Proxy:
    """Passes bytes both ways until told otherwise. It never changes or reorders any."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.swallow = False
        """Drop all that the server says, from now on, for good on the present connections."""
        self.asked = 0
        """Bytes that clients have sent to the server."""
        self.seen = asyncio.Event()
        """Set when something was swallowed: the server has done what it was asked."""

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

    def say(self, data: bytes) -> None:
        """Have the server say this to every client, between two of its own messages if it is silent."""
        for writer in self._clients:
            writer.write(data)

    def cut(self) -> None:
        """Break every connection now; new ones pass again."""
        self.swallow = False
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
        deaf = False
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                deaf = deaf or (answers and self.swallow)
                if deaf:
                    self.seen.set()
                    continue
                writer.write(data)
                await writer.drain()
                self.asked += 0 if answers else len(data)
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
