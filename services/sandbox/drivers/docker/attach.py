"""The attached stream of a container: one connection to the engine that carries stdin, and stdout and stderr in frames.

Written here because the package `docker` gives a blocking socket only. The form is that of `POST
/containers/{id}/attach` in the reference of the engine's API: after the headers of the answer the connection carries
bytes for stdin one way, and the other way frames of a header (stream, three zeros, size as a big-endian number of 32
bits) and that many bytes.
"""

import asyncio
import struct
from typing import Final

from holdfast.sandbox.drivers.docker.engine import EngineAway, EngineError

STDERR: Final = 2
"""Number of the stream stderr in a frame."""

STDERR_BYTES: Final = 4096
"""Bytes of stderr that are kept: its beginning."""

HEADER: Final = struct.Struct(">BxxxI")

BUFFER_BYTES: Final = 1 << 20
"""Size at which reading from the engine pauses."""

CHUNK_BYTES: Final = 1 << 18
"""Bytes of one read."""

ATTACHED: Final = (b" 101 ", b" 200 ")
"""Status of a connection that has become a stream."""


async def attach(socket: str, container: str) -> tuple["StdoutReader", asyncio.StreamWriter]:
    """Attach to a container that was made and not started yet, so that none of its output is missed.

    Raises EngineAway, EngineError.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(socket, limit=BUFFER_BYTES)
        writer.write(
            f"POST /containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\n"
            "Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as exc:
        raise EngineAway(f"it gave no stream ({type(exc).__name__})") from None
    status = head.split(b"\r\n", 1)[0] + b" "
    if not any(code in status for code in ATTACHED):
        writer.close()
        raise EngineError(f"no stream: {status.decode(errors='replace').strip()}", 0)
    return StdoutReader(reader), writer


class StdoutReader:
    """What the container writes to stdout, as `asyncio.StreamReader.readexactly` gives it; `stderr` has the rest."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._left = 0
        """Bytes of the present frame that have not been read."""
        self._is_stderr = False
        self._buffer = bytearray()
        self.stderr = b""

    async def readexactly(self, n: int) -> bytes:
        """The next `n` bytes. Raises IncompleteReadError if the stream ends before, and OSError."""
        while len(self._buffer) < n:
            await self._fill()
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    async def drain(self) -> None:
        """Read to the end of the stream."""
        try:
            while True:
                await self._fill()
                self._buffer.clear()
        except (asyncio.IncompleteReadError, OSError):
            return

    async def _fill(self) -> None:
        """Read some bytes of one frame."""
        if not self._left:
            stream, self._left = HEADER.unpack(await self._reader.readexactly(HEADER.size))
            self._is_stderr = stream == STDERR
            return
        data = await self._reader.read(min(self._left, CHUNK_BYTES))
        if not data:
            raise asyncio.IncompleteReadError(bytes(self._buffer), None)
        self._left -= len(data)
        if self._is_stderr:
            self.stderr = (self.stderr + data)[:STDERR_BYTES]
        else:
            self._buffer += data
