"""Deltas to watchers: whatever size the model's deltas have, messages stay small and the text is whole."""

import asyncio

import msgspec

from holdfast.bus import subjects
from holdfast.bus.api import Message
from holdfast.bus.commands import Delta
from holdfast.bus.ids import Key, new_session_id
from holdfast.bus.streams import MAX_MESSAGE_BYTES
from holdfast.harness.models.deltas import Deltas
from holdfast.harness.models.interface import BlockStart, TextDelta
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer


async def published(*texts: str) -> tuple[list[bytes], Deltas]:
    """The messages that those deltas of one text block make."""
    bus, key, size = MemoryBus(MemoryServer()), Key("acme", new_session_id()), sum(map(len, texts))
    messages: list[bytes] = []
    heard = asyncio.Event()

    async def listen(message: Message) -> None:
        messages.append(message.data)
        if sum(len(d.text) for m in messages for d in msgspec.json.decode(m, type=list[Delta])) == size:
            heard.set()

    subscription = await bus.core.subscribe(subjects.delta(key), listen)
    deltas = Deltas(bus, key, request="sevt_r")
    await deltas.add(BlockStart(0, "text"))
    for text in texts:
        await deltas.add(TextDelta(0, text))
    await deltas.flush()
    await deltas.close()
    async with asyncio.timeout(20):
        await heard.wait()
    await subscription.close()
    return messages, deltas


def test_a_huge_delta_is_published_in_messages_of_a_bounded_size() -> None:
    text = "\x01é" * 2_000_000  # JSON needs six bytes for the first of them
    messages, deltas = asyncio.run(published("Hello ", text, "!"))
    assert max(map(len, messages)) < MAX_MESSAGE_BYTES // 8
    parts = [d for m in messages for d in msgspec.json.decode(m, type=list[Delta]) if not d.start]
    assert "".join(p.text for p in parts) == f"Hello {text}!" == deltas.texts[0]
    assert [p.at for p in parts] == [sum(len(q.text) for q in parts[:n]) for n in range(len(parts))]
