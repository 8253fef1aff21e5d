"""One end of an HTTP/1.1 connection: h11 over the streams of asyncio."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import h11

CHUNK_BYTES: Final = 32 * 1024
"""Bytes of one read. Small, because every connection may hold some of them in memory."""

HEAD_BYTES: Final = 64 * 1024
"""Longest head of a request or response: Google's front ends and curl accept about as much."""


Sent = h11.Request | h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage

END_TIMEOUT_S: Final = 10.0
"""Seconds that an end has to take what was sent to it before its connection was closed."""


async def end(writer: asyncio.StreamWriter) -> None:
    """Close the connection. The other end may be one that reads nothing: then it is cut off."""
    writer.close()
    try:
        async with asyncio.timeout(END_TIMEOUT_S):
            await writer.wait_closed()
    except OSError:  # TimeoutError too
        pass
    finally:
        writer.transport.abort()


class HttpPeer:
    """Receives and sends the events of h11. `count` is told of the bytes of each read and write, and may raise."""

    def __init__(
        self,
        role: type[h11.CLIENT] | type[h11.SERVER],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        count: Callable[[int], None],
    ) -> None:
        """`role` is that of this end."""
        self.reader = reader
        self.writer = writer
        self.http = h11.Connection(role, max_incomplete_event_size=HEAD_BYTES)
        self._count = count

    async def receive(self) -> Any:
        """The next event of the other end. Raises h11.RemoteProtocolError, also when it ends too early, and OSError."""
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            data = await self.reader.read(CHUNK_BYTES)
            self._count(len(data))
            self.http.receive_data(data)

    async def send(self, event: Sent) -> None:
        """Send an event and wait while the other end is slow. Raises h11.LocalProtocolError and OSError."""
        if data := self.http.send(event):
            self._count(len(data))
            self.writer.write(data)
            await self.writer.drain()
