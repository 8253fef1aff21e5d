"""A stream whose key has ended hears that its client has gone."""

import asyncio

from starlette.types import Message

from holdfast.session.http.key_ending import until_set


async def test_messages_pass_until_the_key_ends() -> None:
    messages: asyncio.Queue[Message] = asyncio.Queue()
    ending = asyncio.Event()
    receive = until_set(ending, messages.get)
    messages.put_nowait({"type": "http.request"})
    assert await receive() == {"type": "http.request"}
    waiting = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    ending.set()
    assert await asyncio.wait_for(waiting, 5) == {"type": "http.disconnect"}
    messages.put_nowait({"type": "http.request"})
    assert await receive() == {"type": "http.disconnect"}, "also if the client has sent something"
    assert len(asyncio.all_tasks()) == 1, "nothing is left behind"
