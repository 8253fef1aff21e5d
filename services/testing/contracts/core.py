"""Requests and messages: what every bus must do with handlers, queue groups, timeouts and errors."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from holdfast.bus import streams, subjects
from holdfast.bus.api import Bus, Message
from holdfast.bus.errors import Absent, BusError, NoResponders, Refused, TooLarge, Unavailable
from holdfast.bus.ids import FIRST_CELL, Key, new_id
from holdfast.testing.contracts.helpers import Connect
from holdfast.testing.eventually import eventually


async def test_nobody_listens_is_known_at_once(bus: Bus) -> None:
    began = time.perf_counter()
    with pytest.raises(NoResponders):
        await bus.core.request(subjects.execute(FIRST_CELL, new_id("w")), b"", timeout=5)
    assert time.perf_counter() - began < 0.2


async def test_requests_are_answered_side_by_side(joined: Connect) -> None:
    server, client = await joined("server"), await joined("client")
    together = asyncio.Barrier(3)

    async def handler(data: bytes) -> bytes:
        await together.wait()  # only passes when three are handled at once
        return data.upper()

    subject = subjects.execute(FIRST_CELL, new_id("w"))
    serving = await server.core.serve(subject, handler, queue="q")
    answers = await asyncio.gather(*(client.core.request(subject, x, timeout=5) for x in (b"a", b"b", b"c")))
    assert answers == [b"A", b"B", b"C"]
    await serving.close()
    await eventually(lambda: _refuses(client, subject), within=2)


async def _refuses(bus: Bus, subject: str) -> bool:
    try:
        await bus.core.request(subject, b"", timeout=0.2)
    except NoResponders:
        return True
    except Unavailable:
        return False
    return False


@pytest.mark.parametrize("error", [Refused("a secret"), Absent("a secret"), NoResponders("a secret"), TooLarge("x")])
async def test_a_refusal_crosses_with_its_kind_and_without_its_text(joined: Connect, error: BusError) -> None:
    server, client = await joined("server"), await joined("client")

    async def handler(_: bytes) -> bytes:
        raise error

    subject = subjects.execute(FIRST_CELL, new_id("w"))
    await server.core.serve(subject, handler)
    with pytest.raises(type(error)) as caught:
        await client.core.request(subject, b"", timeout=5)
    assert "secret" not in str(caught.value)


async def test_a_bug_in_a_handler_is_unavailable_to_the_other_side(joined: Connect) -> None:
    server, client = await joined("server"), await joined("client")

    async def handler(_: bytes) -> bytes:
        raise RuntimeError("a secret")

    subject = subjects.execute(FIRST_CELL, new_id("w"))
    await server.core.serve(subject, handler)
    with pytest.raises(Unavailable) as caught:
        await client.core.request(subject, b"", timeout=5)
    assert "secret" not in str(caught.value)


async def test_a_handler_also_hears_what_wants_no_answer(joined: Connect) -> None:
    server, client = await joined("server"), await joined("client")
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def handler(data: bytes) -> bytes:
        heard.put_nowait(data)
        return b""

    subject = subjects.execute(FIRST_CELL, new_id("w"))
    await server.core.serve(subject, handler)
    await client.core.publish(subject, b"x")
    assert await asyncio.wait_for(heard.get(), 5) == b"x"


async def test_a_request_ends_at_its_timeout(joined: Connect) -> None:
    server, client = await joined("server"), await joined("client")
    release = asyncio.Event()

    async def handler(_: bytes) -> bytes:
        await release.wait()
        return b""

    subject = subjects.execute(FIRST_CELL, new_id("w"))
    serving = await server.core.serve(subject, handler)
    with pytest.raises(Unavailable):
        await client.core.request(subject, b"", timeout=0.2)
    release.set()
    await serving.close()


async def test_a_queue_group_shares_and_others_all_hear(joined: Connect, key: Key) -> None:
    buses = [await joined(f"b{n}") for n in range(3)]
    served: list[int] = []
    subject = subjects.execute(FIRST_CELL, new_id("w"))

    def handler(n: int) -> Callable[[bytes], Awaitable[bytes]]:
        async def handle(_: bytes) -> bytes:
            served.append(n)
            return b""

        return handle

    for n in range(2):
        await buses[n].core.serve(subject, handler(n), queue="q")
    for _ in range(10):
        await buses[2].core.request(subject, b"", timeout=5)
    assert len(served) == 10, "each is handled by one"
    heard: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    def listener(n: int) -> Callable[[Message], Awaitable[None]]:
        async def hear(message: Message) -> None:
            assert message.subject == subjects.delta(key)
            heard.put_nowait((n, message.data))

        return hear

    for n in range(2):
        await buses[n].core.subscribe(subjects.delta(key), listener(n))
    for word in (b"a", b"b", b"c"):
        await buses[2].core.publish(subjects.delta(key), word)
    got = [await asyncio.wait_for(heard.get(), 5) for _ in range(6)]
    assert [[w for n, w in got if n == one] for one in range(2)] == [[b"a", b"b", b"c"]] * 2, "in order"


async def test_too_large_is_typed(bus: Bus, key: Key) -> None:
    with pytest.raises(TooLarge):
        await bus.core.publish(subjects.delta(key), b"x" * (streams.MAX_MESSAGE_BYTES + 1))
