"""Deliveries of a work queue: a pull on its shared durable consumer, refilled as handlers finish.

Each pull has its own subscription with a new reply subject. After a missed heartbeat, an error of the consumer or its
leader, or a lost connection, the subscription is dropped and another is made. The server then forgets the old request,
so that no delivery goes to a dead subject for longer than ACK_WAIT_S.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from holdfast.bus import streams, trace
from holdfast.bus.errors import BusError, NoResponders, Unavailable
from holdfast.bus.jetstream.connection import REQUEST_TIMEOUT_S, Listening, RawMessage
from holdfast.bus.jetstream.life_thread import LifeThread
from holdfast.bus.jetstream.passing_on import has_place
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry_until
from holdfast.process import failures
from holdfast.process.backoff import Backoff
from holdfast.process.supervision import supervised

log = structlog.get_logger()

Handle = Callable[["StreamDelivery"], Awaitable[None]]

PULL_EXPIRY_S = 1.0
"""Seconds after which the server ends a pull request; the consumer then sends the next. In a cluster the server does
not notice that a process of another account is gone (seen with 2.15.1): until its last request ends, deliveries go to
it and are repeated after ACK_WAIT_S."""

PULL_BYTES = 16 * 1024 * 1024
"""Bytes of deliveries that one pull request brings; more than the largest message. Deliveries that arrive faster than
they are read fill the write buffer of the server, which then closes the connection (64 MiB by default)."""

PULL_HEARTBEAT_S = 0.5
"""Seconds between two heartbeats of the server on an idle pull: at most half of PULL_EXPIRY_S."""

PULL_SILENCE_S = 5.0
"""Seconds without a message of the server after which the pull is replaced."""

PULL_BACKOFF = Backoff(first_s=0.25, longest_s=0.25)
"""Pause before the next pull after one failed. All replicas fail at once when the leader of the consumer changes."""

ACK_TIMEOUT_S = 8.0
"""Seconds for which an ack is retried."""


class StreamDelivery:
    """One delivery of a message of a work queue.

    The reply subject is `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<stored at>.…`.
    """

    def __init__(self, client: JetStreamClient, got: RawMessage, *, passed_on: bool = False) -> None:
        """`passed_on`: another consumer got it, and passes it on to this one."""
        tokens = got.reply.split(".")
        at = 4 if len(tokens) < 11 else 6  # with a domain and an account hash before the stream
        self._client = client
        self.message = got
        self.reply = got.reply
        self.passed_on = passed_on
        self.count = int(tokens[at])
        """1 for the first delivery."""
        self.seq = int(tokens[at + 1])
        """Sequence in the stream."""
        self.number = int(tokens[at + 2])
        """The consumer sequence."""
        self.stored_ns = int(tokens[at + 3])
        """When the message was stored, in nanoseconds since 1970."""

    def drop_body(self) -> None:
        """Free the memory of the body."""
        got = self.message
        self.message = RawMessage(got.subject, got.reply, b"", got.headers)

    async def ack(self, *, sure: bool = True) -> None:
        """See `api.Delivery.ack`. The ack of an older delivery counts too, so it may be repeated."""
        if sure:
            await retry_until(self._client, ACK_TIMEOUT_S, self._ack)
        else:
            await _best_effort(self._client, self.reply, b"+ACK")

    async def _ack(self) -> None:
        try:
            await self._client.ask(self.reply, b"+ACK")
        except NoResponders:
            raise Unavailable("the consumer does not answer") from None

    async def nak(self, delay: float = 0.0) -> None:
        """See `api.Delivery.nak`."""
        await _nak(self._client, self.reply, delay)

    async def term(self) -> None:
        """The message is never delivered again; best effort."""
        await _best_effort(self._client, self.reply, b"+TERM")

    async def in_progress(self) -> None:
        """See `api.Delivery.in_progress`."""
        await _in_progress(self._client, self.reply)


async def redeliver(client: JetStreamClient, cell: str, seq: int, number: int) -> None:
    """See `api.Inbox.redeliver`. The server looks at the stream sequence and the consumer sequence of a NAK."""
    reply = f"$JS.ACK.{streams.inbox_stream(cell)}.{streams.HARNESS_CONSUMER}.1.{seq}.{number}.0.0"
    await _nak(client, reply)


async def _in_progress(client: JetStreamClient, reply: str) -> None:
    if client.is_up:  # sent after a reconnection it would come too late
        await _best_effort(client, reply, streams.IN_PROGRESS)


async def _nak(client: JetStreamClient, reply: str, delay: float = 0.0) -> None:
    body = b"-NAK " + msgspec.json.encode({"delay": int(delay * streams.SECOND_NS)}) if delay else b"-NAK"
    await _best_effort(client, reply, body)


async def _best_effort(client: JetStreamClient, subject: str, data: bytes) -> None:
    try:
        await client.send(subject, data)
    except BusError as exc:
        log.warning("bus.not_sent", error=str(exc))


class Consumer:
    """One consumer loop of one process, on the durable consumer of that name."""

    def __init__(
        self,
        client: JetStreamClient,
        stream: str,
        durable: str,
        handle: Handle,
        limit: int,
        *,
        on_break: Callable[[], None] = lambda: None,
        log_field: str = "subject",
    ) -> None:
        """`on_break` is called when the pull has failed: the stream may have been replaced.

        `log_field`: what the last token of a subject is called in the log.
        """
        self._client = client
        self._stream = stream
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._handle = handle
        self._on_break = on_break
        self._log_field = log_field
        self._limit = limit
        self._running: dict[asyncio.Task[None], str] = {}
        """The reply subject of the delivery, by the task that handles it."""
        self._life = LifeThread(client, self._running)
        self._requested = 0
        """Number of deliveries requested and not yet received."""
        self._last_message_loop_time = 0.0
        self._wakeup = asyncio.Event()
        """Set when a status arrives, a handler finishes, the pull breaks or the consumer stops."""
        self._broken = False
        self._stopping = False
        self._reply = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set, then wait for the running handlers."""
        ended = asyncio.create_task(self._await_stop(stop))
        in_progress = asyncio.create_task(supervised(self._send_in_progress, name="in_progress"))
        self._life.start()
        self._client.on_reconnect.add(self._break)
        try:
            while not self._stopping:
                await self._pull()
        finally:
            self._client.on_reconnect.discard(self._break)
            ended.cancel()
            self._stopping = True  # also after an exception: nothing is taken over any more
            try:
                await self._finish()
            finally:
                in_progress.cancel()
                await self._life.close()

    async def _await_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping = True
        self._wakeup.set()

    async def _finish(self) -> None:
        if self._running:
            await asyncio.wait(list(self._running))

    # --- the pull --------------------------------------------------------------------------------------------------

    async def _pull(self) -> None:
        """Hold one subscription until it breaks, falls silent, or the consumer stops."""
        self._broken, self._requested, self._reply = False, 0, self._client.inbox()
        try:
            listening = await self._client.listen(self._reply, self._receive)
        except Unavailable:
            await self._sleep(PULL_BACKOFF.pause_s(1, random.random()))  # noqa: S311  not a secret
            return
        self._last_message_loop_time = asyncio.get_running_loop().time()
        try:
            while not self._broken and not self._stopping:
                self._wakeup.clear()
                await self._request_deliveries()
                await self._sleep(PULL_HEARTBEAT_S)
                if (
                    asyncio.get_running_loop().time() - self._last_message_loop_time > PULL_SILENCE_S
                    and self._requested
                ):
                    log.warning("consume.pull_silent", stream=self._stream)
                    break
        finally:
            await self._drop(listening)
        if self._broken and not self._stopping:
            self._on_break()
            self._wakeup.clear()
            await self._sleep(PULL_BACKOFF.pause_s(1, random.random()))  # noqa: S311  not a secret

    async def _drop(self, listening: Listening) -> None:
        """Unsubscribe and handle the deliveries already on their way; a stopping consumer naks them."""
        if not self._client.is_up:
            await listening.close()
            return
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await listening.drain()
        except TimeoutError:
            await listening.close()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wakeup.wait()
        except TimeoutError:
            return

    async def _request_deliveries(self) -> None:
        """Request a delivery for each free handler, once at least half of them have no request."""
        free = self._limit - len(self._running) - self._requested
        if free <= 0 or self._requested > (self._limit - len(self._running)) // 2:
            return
        body = {
            "batch": free,
            "max_bytes": PULL_BYTES,
            "expires": int(PULL_EXPIRY_S * streams.SECOND_NS),
            "idle_heartbeat": int(PULL_HEARTBEAT_S * streams.SECOND_NS),
        }
        self._requested += free
        try:
            await self._client.send(
                self._next,
                msgspec.json.encode(body),
                reply=self._reply,
            )
        except Unavailable:
            self._broken = True

    def _break(self) -> None:
        self._broken = True
        self._wakeup.set()

    async def _receive(self, got: RawMessage) -> None:
        self._last_message_loop_time = asyncio.get_running_loop().time()
        match got.status:
            case "":
                self._requested = max(0, self._requested - 1)
                await self._deliver(got)
            case "100":
                return
            case "409" if "Batch Completed" in got.headers.get("Description", ""):
                return
            case "404" | "408":
                self._request_ended(got)
            case "409" if "Exceeds MaxBytes" in got.headers.get("Description", ""):
                self._request_ended(got)
            case status:
                if not self._broken:
                    log.warning("consume.refused", status=status, why=got.headers.get("Description", ""))
                self._break()

    def _request_ended(self, got: RawMessage) -> None:
        """A pull request has ended: request its undelivered messages again."""
        self._requested = max(0, self._requested - int(got.headers.get("Nats-Pending-Messages", self._requested)))
        self._wakeup.set()

    # --- deliveries ------------------------------------------------------------------------------------------------

    async def _deliver(self, got: RawMessage) -> None:
        if self._stopping:
            await _nak(self._client, got.reply)
            return
        self._start(StreamDelivery(self._client, got))

    def _start(self, delivery: StreamDelivery) -> None:
        task = asyncio.create_task(self._run(delivery))
        self._running[task] = delivery.reply
        task.add_done_callback(self._done)

    def take_over(self, message: RawMessage, load: int) -> bool:
        """Handle a delivery of another consumer, which runs `load` handlers. False: there is no place for it here."""
        takes = not self._stopping and has_place(len(self._running), load, self._limit)
        if takes:
            self._start(StreamDelivery(self._client, message, passed_on=True))
        return takes

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._wakeup.set()

    async def _run(self, delivery: StreamDelivery) -> None:
        named = {self._log_field: delivery.message.subject.rpartition(".")[2], "seq": delivery.seq}
        try:
            with trace.under(delivery.message.headers, link=True):
                await self._handle(delivery)
        except Exception as exc:
            if isinstance(exc, BusError) and exc.retryable:  # expected while the bus is away: no traceback
                log.warning("consume.left_to_redelivery", cause=str(exc), **named)
                return
            log.exception("consume.handler_failed", failure=failures.bug("delivery"), **named)

    async def _send_in_progress(self) -> None:
        """Send in_progress for every running handler, each IN_PROGRESS_INTERVAL_S seconds."""
        while True:
            await asyncio.sleep(streams.IN_PROGRESS_INTERVAL_S)
            self._life.sent()
            for reply in list(self._running.values()):
                await _in_progress(self._client, reply)
