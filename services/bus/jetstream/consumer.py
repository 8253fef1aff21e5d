"""Deliveries of the inbox: a standing pull on the shared durable, refilled as handlers finish.

One subscription with a fresh reply subject carries the pull. Whenever anything about it is in doubt (no heartbeat, the
consumer or its leader gone, the connection lost) it is dropped whole and another is made: the server then forgets what
was asked for, and nothing is delivered to nobody for longer than ack_wait.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from holdfast.bus import streams, subjects, trace
from holdfast.bus.api import Delivery
from holdfast.bus.errors import BusError, NoResponders, Unavailable
from holdfast.bus.ids import Key
from holdfast.bus.inputs import PendingInput
from holdfast.bus.jetstream.connection import REQUEST_TIMEOUT_S, Listening, RawMessage
from holdfast.bus.jetstream.inbox_reads import InboxReads
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry_until

log = structlog.get_logger()

Handle = Callable[[Delivery], Awaitable[None]]

PULL_EXPIRY_S = 30.0
"""Seconds a pull stands; it is renewed as it ends."""

PULL_HEARTBEAT_S = 2.0
"""Seconds between signs of life of an idle pull."""

PULL_SILENCE_S = 2.5 * PULL_HEARTBEAT_S
"""Seconds without any word from the server after which the pull is made anew."""

PULL_RETRY_PAUSE_S = 0.25
"""Seconds between attempts when the consumer does not answer."""

ACK_TIMEOUT_S = 8.0
"""Seconds an ack keeps trying."""


class NatsDelivery:
    """`api.Delivery` over NATS. The reply subject is `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.…`."""

    def __init__(self, link: JetStreamClient, got: RawMessage, message: PendingInput) -> None:
        tokens = got.reply.split(".")
        at = 4 if len(tokens) < 11 else 6  # with a domain and an account hash before the stream
        self._link = link
        self._reply = got.reply
        self._message = message
        self._key = subjects.key_of(got.subject)
        self._count = int(tokens[at])

    @property
    def key(self) -> Key:
        return self._key

    @property
    def seq(self) -> int:
        return self._message.seq

    @property
    def count(self) -> int:
        return self._count

    def pending_input(self) -> PendingInput:
        """See `api.Delivery.pending_input`."""
        return self._message

    async def ack(self, *, sure: bool = True) -> None:
        """See `api.Delivery.ack`. The ack of an older delivery counts too, so it may be repeated."""
        if sure:
            await retry_until(self._link, ACK_TIMEOUT_S, self._ack)
        else:
            await _best_effort(self._link, self._reply, b"+ACK")

    async def _ack(self) -> None:
        try:
            await self._link.ask(self._reply, b"+ACK")
        except NoResponders:
            raise Unavailable("the consumer does not answer") from None

    async def nak(self, delay: float = 0.0) -> None:
        """See `api.Delivery.nak`."""
        await _nak(self._link, self._reply, delay)

    async def in_progress(self) -> None:
        """See `api.Delivery.in_progress`."""
        await _in_progress(self._link, self._reply)


async def _in_progress(link: JetStreamClient, reply: str) -> None:
    if link.is_up:  # a late one would be of no use
        await _best_effort(link, reply, b"+WPI")


async def _nak(link: JetStreamClient, reply: str, delay: float = 0.0) -> None:
    body = b"-NAK " + msgspec.json.encode({"delay": int(delay * streams.SECOND_NS)}) if delay else b"-NAK"
    await _best_effort(link, reply, body)


async def _best_effort(link: JetStreamClient, subject: str, data: bytes) -> None:
    try:
        await link.send(subject, data)
    except BusError as exc:
        log.warning("bus.not_sent", error=str(exc))


def _is_inbox(subject: str) -> bool:
    try:
        return subjects.inbox(subjects.key_of(subject)) == subject
    except ValueError:
        return False


def _stream_seq(reply: str) -> int:
    tokens = reply.split(".")
    return int(tokens[5 if len(tokens) < 11 else 7])


class Consumer:
    """One consumer loop of one process."""

    def __init__(self, link: JetStreamClient, inbox: InboxReads, cell: str, handle: Handle, limit: int) -> None:
        self._link = link
        self._inbox = inbox
        self._stream = streams.inbox_stream(cell)
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{streams.HARNESS_CONSUMER}"
        self._handle = handle
        self._limit = limit
        self._running: dict[asyncio.Task[None], str] = {}
        """Each handler with the reply subject of its delivery."""
        self._wanted = 0
        """Deliveries asked for and not yet received."""
        self._heard = 0.0
        self._word = asyncio.Event()
        """Set when there is something to look at: a delivery, a status, a handler that finished."""
        self._broken = False
        self._stopping = False
        self._reply = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, then drain."""
        ended = asyncio.create_task(self._until(stop))
        beating = asyncio.create_task(self._beats())
        self._link.on_back.add(self._break)
        try:
            while not self._stopping:
                await self._pull()
        finally:
            self._link.on_back.discard(self._break)
            ended.cancel()
            try:
                await self._finish()
            finally:
                beating.cancel()

    async def _until(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping = True
        self._word.set()

    async def _finish(self) -> None:
        if self._running:
            await asyncio.wait(list(self._running))

    # --- the pull --------------------------------------------------------------------------------------------------

    async def _pull(self) -> None:
        """One subscription, from its first request until it is in doubt or we stop."""
        self._broken, self._wanted, self._reply = False, 0, self._link.inbox()
        try:
            listening = await self._link.listen(self._reply, self._receive)
        except Unavailable:
            await self._sleep(PULL_RETRY_PAUSE_S)
            return
        self._heard = asyncio.get_running_loop().time()
        try:
            while not self._broken and not self._stopping:
                self._word.clear()
                await self._ask()
                await self._sleep(PULL_HEARTBEAT_S)
                if asyncio.get_running_loop().time() - self._heard > PULL_SILENCE_S and self._wanted:
                    log.warning("consume.deaf", stream=self._stream)
                    break
        finally:
            await self._drop(listening)
        if self._broken and not self._stopping:
            self._inbox.forget()
            self._word.clear()
            await self._sleep(PULL_RETRY_PAUSE_S)

    async def _drop(self, listening: Listening) -> None:
        """Take the pull back. What was sent before the server knew is heard, and when stopping handed back at once."""
        if not self._link.is_up:
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
                await self._word.wait()
        except TimeoutError:
            return

    async def _ask(self) -> None:
        """Keep a request standing for every free place, without a message for each single one."""
        free = self._limit - len(self._running) - self._wanted
        if free <= 0 or self._wanted > (self._limit - len(self._running)) // 2:
            return
        body = {
            "batch": free,
            "expires": int(PULL_EXPIRY_S * streams.SECOND_NS),
            "idle_heartbeat": int(PULL_HEARTBEAT_S * streams.SECOND_NS),
        }
        self._wanted += free
        try:
            await self._link.send(
                self._next,
                msgspec.json.encode(body),
                reply=self._reply,
            )
        except Unavailable:
            self._broken = True

    def _break(self) -> None:
        self._broken = True
        self._word.set()

    async def _receive(self, got: RawMessage) -> None:
        self._heard = asyncio.get_running_loop().time()
        match got.status:
            case "":
                self._wanted = max(0, self._wanted - 1)
                await self._deliver(got)
            case "100":
                return
            case "404" | "408":  # the request has ended; what it did not deliver may be asked for again
                self._wanted = max(0, self._wanted - int(got.headers.get("Nats-Pending-Messages", self._wanted)))
                self._word.set()
            case "409" if "Batch Completed" in got.headers.get("Description", ""):
                return
            case status:
                if not self._broken:
                    log.warning("consume.refused", status=status, why=got.headers.get("Description", ""))
                self._break()

    # --- deliveries ------------------------------------------------------------------------------------------------

    async def _deliver(self, got: RawMessage) -> None:
        if self._stopping:
            await _nak(self._link, got.reply)
            return
        if not _is_inbox(got.subject):
            log.error("consume.not_an_inbox", subject=got.subject)
            await _best_effort(self._link, got.reply, b"+TERM")  # no session will ever take it
            return
        task = asyncio.create_task(self._run(got))
        self._running[task] = got.reply
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._word.set()

    async def _run(self, got: RawMessage) -> None:
        try:
            message = await self._inbox.decoded(_stream_seq(got.reply), got.data)
        except Unavailable:
            await _nak(self._link, got.reply, 1.0)
            return
        delivery = NatsDelivery(self._link, got, message)
        try:
            with trace.under(got.headers, link=True):
                await self._handle(delivery)
        except Exception:
            log.exception("consume.handler_failed", session=delivery.key.session, seq=delivery.seq)

    async def _beats(self) -> None:
        """One sign of life for every delivery in hand each IN_PROGRESS_INTERVAL_S: none is forgotten, and none outlives its handler."""
        while True:
            await asyncio.sleep(streams.IN_PROGRESS_INTERVAL_S)
            for reply in list(self._running.values()):
                await _in_progress(self._link, reply)
