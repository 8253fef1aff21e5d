"""A sandbox over a stream: what its agent may send, and that its end is told whatever happens."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from holdfast.sandbox.drivers import frames, stream
from holdfast.sandbox.drivers.sandbox import SandboxLost
from holdfast.sandbox.tools import CallTimeouts

Made = tuple[stream.StreamSandbox, asyncio.StreamReader, asyncio.StreamWriter]
"""The sandbox, and the agent's end of the stream."""


@pytest.fixture
async def make() -> AsyncIterator[Callable[[Callable[[], Awaitable[str]]], Awaitable[Made]]]:
    """Makes a sandbox that is ended by the function given."""
    writers: list[asyncio.StreamWriter] = []

    async def one(kill: Callable[[], Awaitable[str]]) -> Made:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        agent_reader, agent_writer = await asyncio.open_connection(sock=theirs)
        writers.extend([writer, agent_writer])
        return stream.StreamSandbox(reader, writer, kill, CallTimeouts(30, 30)), agent_reader, agent_writer

    yield one
    for writer in writers:
        writer.close()


async def test_a_failed_kill_is_told_as_an_end_too(
    make: Callable[[Callable[[], Awaitable[str]]], Awaitable[Made]],
) -> None:
    """Case C2: the waiters, such as the worker whose lease is over, went on waiting for ever."""

    async def kill() -> str:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    sandbox, agent, _ = await make(kill)
    call = asyncio.create_task(sandbox.run("one", "bash", {"command": "sleep 99"}))
    await agent.readexactly(frames.HEADER_BYTES)
    async with asyncio.timeout(20):
        await sandbox.kill("it was idle")
        assert await sandbox.wait() == "it was idle"
        with pytest.raises(SandboxLost, match="it was idle"):
            await call


async def test_a_tool_that_returns_text_may_send_no_frame_as_large_as_media(
    make: Callable[[Callable[[], Awaitable[str]]], Awaitable[Made]],
) -> None:
    async def kill() -> str:
        return ""

    for name, lives in (("bash", False), ("read", True)):
        sandbox, agent, writer = await make(kill)
        call = asyncio.create_task(sandbox.run("one", name, {}))
        await agent.readexactly(frames.HEADER_BYTES)
        text = {"type": "text", "text": "x"}
        frame = frames.encode({"id": 1, "content": [text], "is_error": False})
        size = frames.TEXT_FRAME_BYTES + 1
        # White space is a part of JSON.
        writer.write(size.to_bytes(4, "big") + frame[4:] + b" " * (size - len(frame) + 4))
        async with asyncio.timeout(20):
            if lives:
                assert (await call).content == [text]
                await sandbox.kill("over")
            else:
                with pytest.raises(SandboxLost, match=f"a frame of {size} bytes"):
                    await call


async def test_of_an_idle_sandbox_no_large_frame_is_read(
    make: Callable[[Callable[[], Awaitable[str]]], Awaitable[Made]],
) -> None:
    async def kill() -> str:
        return ""

    sandbox, _, writer = await make(kill)
    writer.write((frames.OUTPUT_FRAME_BYTES + 1).to_bytes(4, "big"))
    async with asyncio.timeout(20):
        assert "bytes" in await sandbox.wait()
