"""What hostile clients do to the HTTP edge while a turn of their session runs."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import httpx
from anthropic import APIError

from tests.support.conversation import Conversation
from tests.support.model import Json
from tests.support.stack import Stack

TURN_S: Final = 8.0
"""Seconds for which the turn is held by a command."""

MESSAGES: Final = 250
MESSAGE_CHARS: Final = 400_000
"""What waits in one session: 100 MB."""

AT_ONCE: Final = 4
"""Requests at the same time."""

READERS: Final = 20
"""Event streams of one session that are opened and not read, or read slowly."""


def _message(chars: int) -> Json:
    return {"type": "user.message", "content": [{"type": "text", "text": "x" * chars}]}


async def _send_all(conversation: Conversation, count: int, chars: int) -> None:
    """Send that many messages, AT_ONCE at a time. What is refused, as 429, is not sent again."""
    left = iter(range(count))

    async def send() -> None:
        for _ in left:
            with contextlib.suppress(APIError):
                await conversation.send(_message(chars))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(send())


async def flood(stack: Stack, conversation: Conversation) -> None:
    """100 MB of messages wait in one session."""
    del stack
    await _send_all(conversation, MESSAGES, MESSAGE_CHARS)


async def small_messages(stack: Stack, conversation: Conversation) -> None:
    """Thousands of small messages wait in one session."""
    del stack
    await _send_all(conversation, 3_000, 10)


def _open_stream(stack: Stack, session: str) -> socket.socket:
    """Ask for the stream of the session on a socket with a small buffer."""
    run = stack.run
    address = urlsplit(run.base_url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((str(address.hostname), int(address.port or 0)))
    head = f"GET /v1/sessions/{session}/events/stream HTTP/1.1\r\nhost: {address.hostname}\r\nx-api-key: {run.api_key}"
    sock.sendall(f"{head}\r\n\r\n".encode())
    sock.setblocking(False)
    return sock


async def stalled_readers(stack: Stack, conversation: Conversation) -> None:
    """READERS streams are open, of which half are never read and half byte by byte, while 40 MB go through them."""
    readers = [_open_stream(stack, conversation.id) for _ in range(READERS)]
    try:
        await _send_all(conversation, MESSAGES * 2 // 5, MESSAGE_CHARS)
        for _ in range(int(TURN_S * 10)):
            for reader in readers[::2]:
                with contextlib.suppress(OSError):
                    reader.recv(1)
            await asyncio.sleep(0.1)  # a slow reader is what this is
    finally:
        for reader in readers:
            reader.close()


async def opened_and_dropped(stack: Stack, conversation: Conversation) -> None:
    """Hundreds of streams are opened, and dropped before their first event."""
    for _ in range(25):
        readers = [_open_stream(stack, conversation.id) for _ in range(READERS)]
        await asyncio.sleep(0.02)  # the moment at which a client goes away is not known
        for reader in readers:
            reader.close()


async def wrong_requests(stack: Stack, conversation: Conversation) -> None:
    """Wrong keys, large bodies that are no JSON or nothing but brackets, and histories that are listed at once."""
    run = stack.run
    path = f"/v1/sessions/{conversation.id}/events"
    key = {"x-api-key": run.api_key, "content-type": "application/json"}
    async with httpx.AsyncClient(base_url=run.base_url, timeout=60, trust_env=False) as client:
        for n in range(200):
            await client.get("/v1/agents", headers={"x-api-key": f"sk-ant-wrong-{n}"})
        for body in (b"x" * (20 << 20), b"[" * (4 << 20), b'{"events":[' + b"0," * (1 << 20) + b"0]}"):
            answer = await client.post(path, content=body, headers=key)
            assert answer.status_code in (400, 413), answer.text[:200]
        await asyncio.gather(*[client.get(path, params={"limit": 1000}, headers=key) for _ in range(40)])


BESIDE: Final[dict[str, Callable[[Stack, Conversation], Awaitable[None]]]] = {
    "100 MB wait in one session": flood,
    "thousands of small messages": small_messages,
    "stalled readers": stalled_readers,
    "streams opened and dropped": opened_and_dropped,
    "wrong requests": wrong_requests,
}
