"""A running sandbox over one byte stream: concurrent calls, exactly one result each, a time limit on silence.

The same for every driver: a driver supplies the stream and a function that kills.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from holdfast.process import failures
from holdfast.sandbox.drivers import frames
from holdfast.sandbox.drivers.sandbox import OnPrinted, Outcome, SandboxLost
from holdfast.sandbox.tools import CallTimeouts, error, known, unknown_tool

log = structlog.get_logger()

ANSWER_SLACK_S: Final = 5.0
"""Seconds beyond the tool's own limit after which a sandbox that has not answered is killed."""

CANCEL_TIMEOUT_S: Final = 1.0
"""Seconds the agent has to stop a cancelled call; then the sandbox is killed."""

OUTPUT_FRAME_INTERVAL_S: Final = 0.05
"""Least seconds between two output frames of one call, on average. The agent leaves 0.1 s between them."""

OUTPUT_FRAME_BURST: Final = 10
"""Output frames of one call that may come faster than that."""

FRAME_SLACK_S: Final = 10.0
FRAME_BYTES_PER_S: Final = 1 << 20
"""A frame must arrive within FRAME_SLACK_S and the time that its size takes at this pace."""

LARGE_FRAME_BYTES: Final = 256 * 1024
"""Frames over this size are decoded at the cost of their sandbox alone."""

DECODE_COST_FACTOR: Final = 10
DECODE_PAUSE_S: Final = 2.0
"""A large frame whose decoding took t seconds is followed by a pause of 10 t, or of DECODE_PAUSE_S if that is less, in
which nothing is read from its sandbox. Decoding holds the event loop, and so the lease and all other sandboxes, up."""

GREETING_BYTES: Final = 64
"""Largest greeting frame."""

STREAM_ENDED: Final = "it ended"
"""Reason of the end when the stream closed although the service had not killed the sandbox."""


class ByteReader(Protocol):
    """The agent's output: the part of `asyncio.StreamReader` that is used here."""

    async def readexactly(self, n: int, /) -> bytes:
        """The next `n` bytes. Raises IncompleteReadError if the stream ends before, and OSError."""
        ...


class _PendingCall:
    """A call that the agent has not answered yet."""

    def __init__(self, name: str, on_printed: OnPrinted | None) -> None:
        loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Outcome] = loop.create_future()
        self.frame_bytes = frames.largest(name)
        """Bytes of the largest frame with its result."""
        self._on_printed = on_printed
        self._started_at = loop.time()
        self._output_frames = 0

    def printed(self, text: str) -> None:
        """Handle one output frame. Raises ProtocolViolation if they come faster than the agent sends them."""
        self._output_frames += 1
        elapsed = asyncio.get_running_loop().time() - self._started_at
        if self._output_frames > OUTPUT_FRAME_BURST + elapsed / OUTPUT_FRAME_INTERVAL_S:
            raise frames.ProtocolViolation("too many output frames")
        if self._on_printed:
            self._on_printed(text)


class StreamSandbox:
    """A sandbox whose agent has sent its greeting. See Sandbox for the methods.

    `kill` is called once. It ends everything in the sandbox, returns when that has happened, and may return a better
    reason than the one known here (else an empty string).
    """

    def __init__(
        self,
        reader: ByteReader,
        writer: asyncio.StreamWriter,
        kill: Callable[[], Awaitable[str]],
        timeouts: CallTimeouts,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._kill = kill
        self._timeouts = timeouts
        self._last_number = 0
        self._numbers: dict[str, int] = {}
        self._pending: dict[int, _PendingCall] = {}
        self._shell = asyncio.Lock()
        self._queued: set[str] = set()
        self._reason = ""
        self._gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ending: asyncio.Task[None] | None = None
        self._listener = asyncio.create_task(self._listen())

    async def run(
        self, call: str, name: str, arguments: dict[str, object], on_printed: OnPrinted | None = None
    ) -> Outcome:
        """See Sandbox."""
        if not known(name):
            return unknown_tool(name)
        limit = self._timeouts.limit(name, arguments)
        if name != "bash":
            return await self._request(call, name, arguments, limit, None)
        # The one shell runs commands in the order of the calls. The time limit of a command starts with its turn.
        self._queued.add(call)
        try:
            async with self._shell:
                if call not in self._queued:
                    return error("cancelled before it started")
                return await self._request(call, name, arguments, limit, on_printed)
        finally:
            self._queued.discard(call)

    async def _request(
        self, call: str, name: str, arguments: dict[str, object], limit: float, on_printed: OnPrinted | None
    ) -> Outcome:
        if self._reason:
            raise SandboxLost(self._reason)
        self._last_number += 1
        number = self._last_number
        try:
            frame = frames.encode({"id": number, "name": name, "input": arguments, "limit": limit})
        except (RecursionError, OverflowError, ValueError):
            return error(f"{name}: the input cannot be sent: it is nested too deep, or holds a number that is too long")
        pending = self._pending[number] = _PendingCall(name, on_printed)
        self._numbers[call] = number
        try:
            self._send(frame)
            async with asyncio.timeout(limit + ANSWER_SLACK_S):
                return await asyncio.shield(pending.outcome)
        except TimeoutError:
            reason = f"it did not answer within {limit + ANSWER_SLACK_S:g} s"
            await self.kill(reason)
            raise SandboxLost(reason) from None
        finally:
            self._pending.pop(number, None)
            self._numbers.pop(call, None)
            pending.outcome.cancel()

    async def cancel(self, call: str) -> None:
        """See Sandbox. A command that waits for the shell will not start."""
        self._queued.discard(call)
        number = self._numbers.get(call)
        pending = self._pending.get(number) if number else None
        if pending is None:
            return
        self._send(frames.encode({"id": number, "cancel": True}))
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT_S):
                await asyncio.wait([pending.outcome])
        except TimeoutError:
            await self.kill("a cancelled call did not stop")

    def end_processes(self) -> None:
        """Ask the agent to end all processes that commands have started; the shell stays if it is not busy itself."""
        self._send(frames.encode({"end_processes": True}))

    @property
    def ended_by_itself(self) -> bool:
        """Whether the stream closed although the service had not killed the sandbox; the driver may know the cause."""
        return self._reason == STREAM_ENDED

    async def kill(self, reason: str) -> None:
        """See Sandbox."""
        self._end(reason)
        await asyncio.shield(self._gone)

    async def wait(self) -> str:
        """See Sandbox."""
        return await asyncio.shield(self._gone)

    def _send(self, frame: bytes) -> None:
        if not self._reason:
            self._writer.write(frame)

    def _end(self, reason: str) -> None:
        if self._ending is None:
            self._reason = reason
            self._ending = asyncio.create_task(self._finish(reason))

    async def _finish(self, reason: str) -> None:
        """Kill first and tell the waiters after, so that nothing runs any more when `wait` and `run` return."""
        cause = ""
        try:
            cause = await self._kill()
        except Exception:  # the waiters must hear of the end all the same: among them are those of a lost lease
            log.exception("a sandbox could not be ended completely", failure=failures.bug("driver"))
        finally:
            self._reason = cause or reason
            self._listener.cancel()
            self._writer.close()
            for pending in self._pending.values():
                if not pending.outcome.done():
                    pending.outcome.set_exception(SandboxLost(self._reason))
            self._gone.set_result(self._reason)

    async def _next_frame(self) -> frames.Reply | frames.OutputFrame:
        """Raises ProtocolViolation, IncompleteReadError and OSError."""
        header = await self._reader.readexactly(frames.HEADER_BYTES)
        most = max((pending.frame_bytes for pending in self._pending.values()), default=frames.OUTPUT_FRAME_BYTES)
        size = frames.size_of(header, most)
        try:
            async with asyncio.timeout(FRAME_SLACK_S + size / FRAME_BYTES_PER_S):
                data = await self._reader.readexactly(size)
        except TimeoutError:
            raise frames.ProtocolViolation(f"a frame of {size} bytes that did not end") from None
        began = time.perf_counter()
        reply = frames.decode_reply(data)
        if size > LARGE_FRAME_BYTES:
            await asyncio.sleep(min(DECODE_COST_FACTOR * (time.perf_counter() - began), DECODE_PAUSE_S))
        return reply

    async def _listen(self) -> None:
        try:
            while True:
                reply = await self._next_frame()
                pending = self._pending.get(reply.id)
                if pending is None or pending.outcome.done():
                    raise frames.ProtocolViolation("an answer to no open call")  # noqa: TRY301  one place to end it
                if isinstance(reply, frames.OutputFrame):
                    pending.printed(reply.text())
                else:
                    pending.outcome.set_result(reply.outcome())
        except asyncio.IncompleteReadError:
            self._end(STREAM_ENDED)
        except frames.ProtocolViolation as exc:
            log.warning("sandbox violated its protocol", violation=str(exc))
            self._end(f"it sent {exc}")
        except OSError as exc:
            self._end(f"its stream failed ({exc.strerror})")


async def greeted(reader: ByteReader) -> None:
    """Wait for the agent's greeting. Raises ProtocolViolation, or IncompleteReadError if the stream ends first."""
    header = await reader.readexactly(frames.HEADER_BYTES)
    size = frames.size_of(header, GREETING_BYTES)
    frames.decode_hello(await reader.readexactly(size))
