"""A living sandbox over one byte stream: calls side by side, each answered once, silence bounded.

The same for every driver; a driver gives the stream and says how to kill.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from holdfast.sandbox.drivers import frames
from holdfast.sandbox.drivers.sandbox import OnPrinted, Outcome, SandboxLost
from holdfast.sandbox.tools import CallTimeouts, error, known, unknown_tool

log = structlog.get_logger()

SLACK: Final = 5.0
"""Seconds beyond the tool's own limit after which a silent sandbox is given up."""

CANCEL_WITHIN: Final = 1.0
"""Seconds the agent has to stop a call; then the sandbox goes."""


PRINTED_EACH: Final = 0.05
"""Seconds between two frames of output of one call, on average; the agent keeps twice as much."""

PRINTED_SLACK: Final = 10
"""Frames of output that may come faster than that."""

ENDED: Final = "it ended"


class _Asked:
    """A call that the agent has not answered yet."""

    def __init__(self, on_printed: OnPrinted | None) -> None:
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Outcome] = loop.create_future()
        self._on_printed = on_printed
        self._began = loop.time()
        self._frames = 0

    def printed(self, text: str) -> None:
        """The call has printed that. Raises Breach when it comes faster than the agent sends."""
        self._frames += 1
        elapsed = asyncio.get_running_loop().time() - self._began
        if self._frames > PRINTED_SLACK + elapsed / PRINTED_EACH:
            raise frames.ProtocolViolation("too many frames of output")
        if self._on_printed:
            self._on_printed(text)


class StreamSandbox:
    """A sandbox whose agent has greeted. `kill` ends everything in it and returns when that is so; called once."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        kill: Callable[[], Awaitable[str]],
        allowance: CallTimeouts,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._kill = kill
        self._allowance = allowance
        self._number = 0
        self._numbers: dict[str, int] = {}
        self._asked: dict[int, _Asked] = {}
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
        limit = self._allowance.limit(name, arguments)
        if name != "bash":
            return await self._ask(call, name, arguments, limit, None)
        # Two commands at once take the one shell in order, and the time of the second starts with its turn.
        self._queued.add(call)
        try:
            async with self._shell:
                if call not in self._queued:
                    return error("cancelled before it started")
                return await self._ask(call, name, arguments, limit, on_printed)
        finally:
            self._queued.discard(call)

    async def _ask(
        self, call: str, name: str, arguments: dict[str, object], limit: float, on_printed: OnPrinted | None
    ) -> Outcome:
        if self._reason:
            raise SandboxLost(self._reason)
        self._number += 1
        number = self._number
        asked = self._asked[number] = _Asked(on_printed)
        self._numbers[call] = number
        try:
            self._send({"id": number, "name": name, "input": arguments, "limit": limit})
            async with asyncio.timeout(limit + SLACK):
                return await asyncio.shield(asked.answer)
        except TimeoutError:
            reason = f"it did not answer within {limit + SLACK:g} s"
            await self.kill(reason)
            raise SandboxLost(reason) from None
        finally:
            self._asked.pop(number, None)
            self._numbers.pop(call, None)
            asked.answer.cancel()

    async def cancel(self, call: str) -> None:
        """See Sandbox. A command that waits for its turn will not start."""
        self._queued.discard(call)
        number = self._numbers.get(call)
        asked = self._asked.get(number) if number else None
        if asked is None:
            return
        self._send({"id": number, "cancel": True})
        try:
            async with asyncio.timeout(CANCEL_WITHIN):
                await asyncio.wait([asked.answer])
        except TimeoutError:
            await self.kill("a cancelled call did not stop")

    @property
    def ended_by_itself(self) -> bool:
        """Whether the stream ended without our doing: then the driver may know why."""
        return self._reason == ENDED

    async def kill(self, reason: str) -> None:
        """See Sandbox."""
        self._end(reason)
        await asyncio.shield(self._gone)

    async def wait(self) -> str:
        """See Sandbox."""
        return await asyncio.shield(self._gone)

    def _send(self, frame: dict[str, object]) -> None:
        if not self._reason:
            self._writer.write(frames.encode(frame))

    def _end(self, reason: str) -> None:
        if self._ending is None:
            self._reason = reason
            self._ending = asyncio.create_task(self._finish(reason))

    async def _finish(self, reason: str) -> None:
        """Kill first, then tell: whoever hears that the sandbox is gone may rely on it."""
        found = await self._kill()
        self._reason = found or reason
        self._listener.cancel()
        self._writer.close()
        for asked in self._asked.values():
            if not asked.answer.done():
                asked.answer.set_exception(SandboxLost(self._reason))
        self._gone.set_result(self._reason)

    async def _listen(self) -> None:
        try:
            while True:
                header = await self._reader.readexactly(frames.HEADER_BYTES)
                reply = frames.decode_reply(await self._reader.readexactly(frames.size_of(header)))
                asked = self._asked.get(reply.id)
                if asked is None or asked.answer.done():
                    raise frames.ProtocolViolation("an answer to nothing")  # noqa: TRY301
                if isinstance(reply, frames.Printed):
                    asked.printed(reply.text())
                else:
                    asked.answer.set_result(reply.outcome())
        except asyncio.IncompleteReadError:
            self._end(ENDED)
        except frames.ProtocolViolation as exc:
            log.warning("sandbox breached its protocol", what=str(exc))
            self._end(f"it sent {exc}")
        except OSError as exc:
            self._end(f"its stream failed ({exc.strerror})")


async def greeted(reader: asyncio.StreamReader) -> None:
    """Return when the agent has greeted. Raises Breach, and IncompleteReadError when the stream ends before."""
    header = await reader.readexactly(frames.HEADER_BYTES)
    size = frames.size_of(header)
    if size > 64:
        raise frames.ProtocolViolation("no greeting")
    frames.decode_hello(await reader.readexactly(size))
