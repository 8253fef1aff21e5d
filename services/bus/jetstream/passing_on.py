"""Deliveries that one consumer passes on to another one of the same stream (rule 1).

What is sent is the subject of the message and the reply subject of its delivery: whoever acks that has handled it.
"""

import contextlib
from collections.abc import Callable
from typing import Final

import msgspec

from holdfast.bus import subjects
from holdfast.bus.errors import BusError, NoResponders
from holdfast.bus.jetstream.connection import Listening, RawMessage
from holdfast.bus.jetstream.requests import JetStreamClient

ANSWER_TIMEOUT_S: Final = 0.5
"""Seconds to wait for the answer. The server repeats a delivery without signs of life after ACK_WAIT_S anyway."""

SPARE_HANDLERS: Final = 4
"""A consumer takes deliveries of others while it runs so many handlers more than they do, and a quarter of theirs: it
saves the others work, but it must not have all of it."""

TAKEN: Final = b"taken"
REFUSED: Final = b"refused"


class PassedOn(msgspec.Struct, frozen=True):
    """A delivery on its way to another consumer."""

    subject: str
    reply: str
    load: int
    """Handlers that run where it comes from."""
    headers: dict[str, str] = {}
    """Its trace context."""


def has_place(running: int, load: int, limit: int) -> bool:
    """Whether a consumer that runs so many handlers, of at most `limit`, takes a delivery of one that runs `load`."""
    return running < min(limit, load + load // 4 + SPARE_HANDLERS)


async def listen(
    client: JetStreamClient, cell: str, name: str, take_over: Callable[[RawMessage, int], bool]
) -> Listening:
    """Hand what others pass on to `name` to `take_over`, with their load, and answer them. Raises Unavailable.

    The message that it gets has no body.
    """

    async def take(got: RawMessage) -> None:
        passed = msgspec.json.decode(got.data, type=PassedOn)
        message = RawMessage(passed.subject, passed.reply, b"", passed.headers)
        takes = passed.reply.startswith("$JS.ACK.") and take_over(message, passed.load)
        with contextlib.suppress(BusError):  # no answer: the other one leaves it alone too
            await client.send(got.reply, TAKEN if takes else REFUSED)

    return await client.listen(subjects.take(cell, name), take)


async def pass_on(client: JetStreamClient, cell: str, to: str, passed: PassedOn) -> bool:
    """See `api.Inbox.pass_on`."""
    try:
        answer = await client.ask(subjects.take(cell, to), msgspec.json.encode(passed), timeout_s=ANSWER_TIMEOUT_S)
    except NoResponders:
        return False
    except BusError:
        return True
    return answer.data != REFUSED
