"""The client of nats-py 2.16, mended in seven places and made faster in two. Only this module and `imports` know it.

Each override has a contract test, those of faults beside one of the library alone:

1. `_process_err`: an error from the server closes the connection of nats-py for good. Ours reconnects.
   nats-io/nats-architecture-and-design#282 (agreed for all clients), nats-io/nats.py#956, nats-io/nats.c#999.
2. `_attempt_reconnect`: an unexpected exception, such as one of a callback, ends the reconnect task of nats-py
   without a message. Ours logs it and tries again. nats-io/nats.py#204.
3. `_send_ping`, order: nats-py writes the ping past its buffer, so that a flush proves nothing about a message or
   subscription before it. Ours goes through the buffer. nats-io/nats.py2#24 fixed this in the older client.
4. `_send_ping`, future: the pong of a cancelled flush ends the reading task of nats-py. Ours sets the result of a
   future that nobody cancels. nats-io/nats.py#624 is the same fault with another future.
5. `_process_headers` and
6. `_build_message`: an exception in them ends the reading task of nats-py, and the server checks neither the first line
   of the headers nor the characters of a subject. So whoever may publish to us could cut us off. What cannot be read is
   left out or replaced, and the message is handled like any other.
7. `_connect_to_server`: an attempt whose handshake fails, as with a server that is starting or dying, leaves its
   connection open until the garbage collector finds it. Ours closes it before the next attempt.

For speed only:

8. `_parse_header_lines` does not check each character of each name. nats-io/nats.py#928 brought the slower parser.
9. `_process_msg` calls the function of `hear` where the message is read: it passes through no queue and no task.

Not overridden, though it looks slow: `_flush_pending`, which has another task write what was sent, an iteration of the
event loop later. Written at once a single request takes a fifth less processor time; but what fifty sessions send is
then written, and read by the server, in smaller pieces, and a turn among them takes a fifth more.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from holdfast.bus.jetstream.imports import PING_PROTO, Client, Msg, Srv, Subscription, nats
from holdfast.bus.jetstream.raw_message import RawMessage
from holdfast.process import failures

log = structlog.get_logger()

_RECONNECT_PAUSE_S: Final = 0.5

Hear = Callable[[RawMessage], None]
"""A function that is given each message of a subscription. It must not raise."""


def raw_message(msg: Msg) -> RawMessage:
    """The message of nats-py as ours."""
    return RawMessage(msg.subject, msg.reply, msg.data, msg.headers or {})


class NatsClient(Client):
    """The client of nats-py with the overrides listed in the docstring of this module."""

    def __init__(self) -> None:
        super().__init__()
        self._heard_by: dict[int, Hear] = {}
        """The function of each subscription that `hear` made, by the id of the subscription."""

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        headers: dict[str, str] = {}
        for line in raw.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip()] = value.strip()
        return headers

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)  # pyright: ignore[reportUnknownMemberType]
        except (UnicodeDecodeError, IndexError):  # the first line is not that of a server, and no text
            return None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return super()._build_message(sid, _as_utf8(subject), _as_utf8(reply), data, headers)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if future is not None:
            answered.add_done_callback(lambda _: future.done() or future.set_result(True))
        self._pongs.append(answered)  # pyright: ignore[reportUnknownMemberType]
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    async def _process_err(self, err_msg: str) -> None:
        error = nats.errors.Error(f"nats: {err_msg.strip(chr(39))}")
        if "permissions violation" in err_msg.lower():
            await self._error_cb(error)  # the connection stays open
        else:
            await self._process_op_err(error)

    async def _attempt_reconnect(self) -> None:
        while True:
            try:
                return await super()._attempt_reconnect()
            except Exception:
                log.exception("nats.reconnect_failed", failure=failures.bug("connection"))
                await asyncio.sleep(_RECONNECT_PAUSE_S)

    async def _connect_to_server(self, s: Srv) -> None:
        if self._transport is not None:
            self._transport.close()  # there is no harm in closing it twice
        await super()._connect_to_server(s)

    async def hear(self, subject: str, receive: Hear) -> Subscription:
        """Subscribe, and call `receive` with each message as it is read."""

        async def late(msg: Msg) -> None:  # a message that was read before the line below
            receive(raw_message(msg))

        made = await self.subscribe(subject, cb=late, pending_msgs_limit=0, pending_bytes_limit=0)  # pyright: ignore[reportUnknownMemberType]
        self._heard_by[made._id] = receive  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return made

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        receive = self._heard_by.get(sid)
        if receive is None or self._subs[sid].pending_msgs:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        told = await self._process_headers(headers) or {}
        receive(RawMessage(subject.decode("utf-8", "replace"), reply.decode("utf-8", "replace"), data, told))

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._heard_by.pop(sid, None)
        super()._remove_sub(sid, max_msgs)


def _as_utf8(raw: bytes) -> bytes:
    """The bytes if they are UTF-8, else what stands for them: no subject or id of ours has such a character."""
    return raw if raw.isascii() else raw.decode("utf-8", "replace").encode()
