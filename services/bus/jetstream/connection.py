"""One connection to NATS, with our own types and errors. Only this module, `nats_client` and `imports` use nats-py.

- The responses to all requests and batched reads arrive on one subscription. The last token of the reply subject is the
  number of the request, so that a read needs no subscription of its own.
- When the connection is lost, every request in flight raises Unavailable at once instead of after its timeout. The
  caller then does not know whether the server carried the request out.
"""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import structlog

from holdfast.bus import trace
from holdfast.bus.errors import NoResponders, TooLarge, Unanswered, Unavailable
from holdfast.bus.jetstream.imports import Msg, nats
from holdfast.bus.jetstream.imports import Subscription as NatsSubscription
from holdfast.bus.jetstream.nats_client import Hear, NatsClient, raw_message
from holdfast.bus.jetstream.raw_message import RawMessage
from holdfast.process import failures
from holdfast.process.backoff import Backoff

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 30.0
"""Seconds after which `open` gives up."""

REQUEST_TIMEOUT_S = 2.0
"""Seconds that one request waits for its response; callers may retry it."""

WRITE_BUFFER_BYTES = 64 * 1024 * 1024
"""Bytes that nats-py buffers for writing while the connection is lost."""

_RECONNECT_BACKOFF = Backoff(first_s=0.15, longest_s=0.15, jitter=0.5)
"""Pauses between two attempts to reconnect. Each connection has its own, so that the processes that lost one server do
not all knock at the next one in step."""

SETTLING_S = 2.0
"""Seconds after a reconnection in which others that lost the same server may still be on their way back."""

CLIENT_ERRORS = (nats.errors.Error, OSError, TimeoutError)
"""Exceptions of nats-py; it raises OSError when it writes to a connection that has just broken."""


Receive = Callable[[RawMessage], Awaitable[None]]


def _reconnect_wait_s() -> float:
    return _RECONNECT_BACKOFF.pause_s(1, random.random())  # noqa: S311  not a secret


class Listening:
    """A subscription."""

    def __init__(self, inner: NatsSubscription) -> None:
        self._inner = inner

    async def close(self) -> None:
        """Unsubscribe and drop the messages that were received and not yet handled."""
        try:
            await self._inner.unsubscribe()
        except CLIENT_ERRORS:
            return  # the subscription or its connection is closed already

    async def drain(self) -> None:
        """Unsubscribe, and return when every message that the server had already sent is handled."""
        try:
            await self._inner.drain()
        except CLIENT_ERRORS:
            await self.close()


class Connection:
    """The connection: publish, subscribe, and requests with one response or many."""

    def __init__(self) -> None:
        self._nc = NatsClient()
        self._numbers = itertools.count(1)
        self._waiting: dict[str, Callable[[RawMessage | None], None]] = {}
        self._inbox = ""
        self._up = asyncio.Event()
        self.connections = 1
        """Number of the present connection: it grows whenever one is lost."""
        self._settled_at = 0.0
        self.opened_with: tuple[list[str], str, tuple[str, str] | None] = ([], "", None)
        """Servers, name and login that `open` was given."""
        self.on_reconnect: set[Callable[[], None]] = set()
        """Called after each reconnection: readers missed the messages published meanwhile and must read again."""

    # --- life ------------------------------------------------------------------------------------------------------

    async def open(self, servers: list[str], *, name: str, login: tuple[str, str] | None) -> None:
        """Connect. Raises Unavailable after CONNECT_TIMEOUT_S seconds."""
        self.opened_with = servers, name, login
        options: dict[str, Any] = {}
        if login:
            options = {"user": login[0], "password": login[1], "inbox_prefix": f"_INBOX_{login[0]}".encode()}
        last: list[str] = []

        async def on_error(exc: Exception) -> None:
            text = f"{type(exc).__name__}: {exc}"
            if not last or last[0] != text:
                log.warning("nats.error", error=text)
            last[:] = [text]

        async def on_lost() -> None:
            self._lost()

        async def on_reconnect() -> None:
            log.info("nats.reconnected", server=self._where())
            last.clear()
            self._settled_at = asyncio.get_running_loop().time() + SETTLING_S
            self._up.set()
            for notify in list(self.on_reconnect):
                notify()

        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._nc.connect(  # pyright: ignore[reportUnknownMemberType]
                    servers,
                    name=name,
                    error_cb=on_error,
                    disconnected_cb=on_lost,
                    reconnected_cb=on_reconnect,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_reconnect_wait_s(),  # pyright: ignore[reportArgumentType]  it is a duration
                    connect_timeout=2,
                    ping_interval=5,
                    pending_size=WRITE_BUFFER_BYTES,
                    **options,
                )
        except TimeoutError:
            where = ", ".join(url.rpartition("@")[2] for url in servers)
            raise Unavailable(f"cannot connect to NATS at {where}: {last[0] if last else 'no answer'}") from None
        self._inbox = self._nc.new_inbox()
        await self.hear(f"{self._inbox}.*", self._answered)
        self._up.set()

    async def close(self) -> None:
        """Write the published messages, then close the connection."""
        if not self._nc.is_closed:
            await self._nc.close()
        self._lost()

    def _lost(self) -> None:
        self._up.clear()
        self.connections += 1
        for answer in list(self._waiting.values()):
            answer(None)

    def _where(self) -> str:
        url = self._nc.connected_url
        return url.netloc.rpartition("@")[2] if url else ""

    @property
    def is_settling(self) -> bool:
        """True for a moment after a reconnection: that nobody listens says nothing then."""
        return asyncio.get_running_loop().time() < self._settled_at

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    async def up(self, deadline: float) -> None:
        """Wait for the connection until `deadline` (loop time). Raises Unavailable."""
        if self._up.is_set():
            return
        if self._nc.is_closed:
            raise Unavailable("the connection is closed")
        try:
            async with asyncio.timeout_at(deadline):
                await self._up.wait()
        except TimeoutError:
            raise Unavailable("no connection to NATS") from None

    # --- core ------------------------------------------------------------------------------------------------------

    async def send(self, subject: str, data: bytes, *, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Publish. Raises TooLarge; Unavailable if the connection is closed or its write buffer is full."""
        try:
            await self._nc.publish(subject, data, reply=reply, headers=headers)
        except nats.errors.MaxPayloadError:
            raise TooLarge(f"{len(data)} bytes are over the limit of the server") from None
        except CLIENT_ERRORS as exc:
            raise Unavailable(f"cannot publish: {type(exc).__name__}") from None

    async def listen(self, subject: str, receive: Receive, *, queue: str = "") -> Listening:
        """Subscribe, and await `receive` with each message in turn. Raises Unavailable."""
        return Listening(await self._subscribe(subject, receive, queue))

    async def hear(self, subject: str, receive: Hear) -> Listening:
        """Subscribe, and call `receive` with each message at once. Raises Unavailable.

        For a function that only puts the message somewhere: it holds up all other messages of the connection. And it
        overtakes the messages of `listen` that came before: use it only where their order means nothing.
        """

        def on_message(got: RawMessage) -> None:
            try:
                receive(got)
            except Exception:
                log.exception("bus.listener_failed", subject=got.subject, failure=failures.bug("listener"))

        try:
            return Listening(await self._nc.hear(subject, on_message))
        except CLIENT_ERRORS as exc:
            raise Unavailable(f"cannot subscribe: {type(exc).__name__}") from None

    async def _subscribe(self, subject: str, receive: Receive, queue: str = "") -> NatsSubscription:
        async def on_message(msg: Msg) -> None:
            try:
                await receive(raw_message(msg))
            except Exception:
                log.exception("bus.listener_failed", subject=msg.subject, failure=failures.bug("listener"))

        try:
            return await self._nc.subscribe(  # pyright: ignore[reportUnknownMemberType]
                subject, queue=queue, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0
            )
        except CLIENT_ERRORS as exc:
            raise Unavailable(f"cannot subscribe: {type(exc).__name__}") from None

    def inbox(self) -> str:
        """A new reply subject that only this connection uses."""
        return self._nc.new_inbox()

    async def flush(self) -> None:
        """Wait until the server has processed every message and subscription sent before. Raises Unavailable."""
        try:
            await self._nc.flush(timeout=int(REQUEST_TIMEOUT_S))
        except CLIENT_ERRORS:
            raise Unavailable("the server does not answer") from None

    # --- requests --------------------------------------------------------------------------------------------------

    def _answered(self, got: RawMessage) -> None:
        answer = self._waiting.get(got.subject.rpartition(".")[2])
        if answer:
            answer(got)

    async def ask(
        self,
        subject: str,
        data: bytes = b"",
        *,
        headers: dict[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> RawMessage:
        """Send a request and return its only response. Raises NoResponders, Unavailable, TooLarge."""
        token = str(next(self._numbers))
        future: asyncio.Future[RawMessage | None] = asyncio.get_running_loop().create_future()

        def answer(got: RawMessage | None) -> None:
            if not future.done():
                future.set_result(got)

        self._waiting[token] = answer
        try:
            async with asyncio.timeout(timeout_s):
                await self.send(subject, data, reply=f"{self._inbox}.{token}", headers=trace.inject(headers))
                got = await future
        except TimeoutError:
            raise Unanswered(f"no answer on {subject} within {timeout_s} s") from None
        finally:
            del self._waiting[token]
        if got is None:
            raise Unanswered("the connection was lost")
        if got.status == "503":
            raise NoResponders(f"nobody listens on {subject}")
        return got

    async def stream(self, subject: str, data: bytes) -> AsyncIterator[RawMessage]:
        """Send a request and yield its responses up to the first with a status, which is yielded too.

        Raises NoResponders; Unavailable if no response arrives for REQUEST_TIMEOUT_S seconds.
        """
        token = str(next(self._numbers))
        queue: asyncio.Queue[RawMessage | None] = asyncio.Queue()
        self._waiting[token] = queue.put_nowait
        try:
            await self.send(subject, data, reply=f"{self._inbox}.{token}")
            while True:
                if queue.empty():
                    async with asyncio.timeout(REQUEST_TIMEOUT_S):
                        got = await queue.get()
                else:
                    got = queue.get_nowait()
                if got is None:
                    raise Unavailable("the connection was lost")
                if got.status == "503":
                    raise NoResponders(f"nobody listens on {subject}")
                yield got
                if got.status:
                    return
        except TimeoutError:
            raise Unavailable(f"no answer on {subject} within {REQUEST_TIMEOUT_S} s") from None
        finally:
            del self._waiting[token]
