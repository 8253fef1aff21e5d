"""Ends the event streams of an API key that is not valid any more."""

import asyncio

from starlette.types import Message, Receive


def until_set(ending: asyncio.Event, receive: Receive) -> Receive:
    """`receive`, which says that the client has disconnected as soon as `ending` is set: the response then ends."""

    async def received() -> Message:
        ended = asyncio.ensure_future(ending.wait())
        message = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((ended, message), return_when=asyncio.FIRST_COMPLETED)
            return message.result() if message.done() and not ended.done() else {"type": "http.disconnect"}
        finally:
            for task in (ended, message):
                task.cancel()

    return received
