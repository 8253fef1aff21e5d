"""`api.Core` in memory."""

import asyncio

import structlog

from holdfast.bus import streams
from holdfast.bus.api import Handler, Listener, Message, Subscription
from holdfast.bus.errors import BusError, Conflict, NoResponders, TooLarge, Unavailable
from holdfast.testing.memory.link import Closable, MemoryLink
from holdfast.testing.memory.records import CoreMessage

log = structlog.get_logger()


class _Request(CoreMessage, frozen=True, kw_only=True):
    """A request on its way; `answered` False: its answer is lost."""

    answer: "asyncio.Future[bytes | BusError]"
    answered: bool


class MemoryCore:
    """`api.Core` in memory."""

    def __init__(self, link: MemoryLink) -> None:
        self._link = link
        self._server = link.server

    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:  # noqa: ASYNC109
        """See `api.Core.request`."""
        _check_size(data)
        name, faults, loop = self._link.name, self._server.faults, asyncio.get_running_loop()
        await self._link.pause("request")
        if not self._server.receivers(subject):
            raise NoResponders(f"nobody listens on {subject}")
        answer: asyncio.Future[bytes | BusError] = loop.create_future()
        fate = faults.fate(name, "request")
        request = _Request(subject, data, answer=answer, answered=fate != "unanswered")
        times = 0 if fate == "lost" else 1 + faults.repeats(name, "request")
        for nth in range(times):
            wait = faults.delay(name, "request") if fate == "late" or nth else 0.0
            loop.call_later(wait, self._server.publish, request)
        try:
            async with asyncio.timeout(timeout):
                result = await answer
        except TimeoutError:
            raise Unavailable(f"no answer on {subject} within {timeout} s") from None
        await self._link.pause("request:answer")
        if isinstance(result, BusError):
            raise result
        return result

    async def serve(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """See `api.Core.serve`."""
        await self._link.pause("serve")
        loop, running = asyncio.get_running_loop(), set[asyncio.Task[None]]()

        async def answer(request: _Request) -> None:
            result: bytes | BusError
            try:
                await self._link.pause("served")
                result = await handler(request.data)
            except BusError as exc:
                result = exc if isinstance(exc, Conflict) else type(exc)("refused by the other side")
            except Exception:
                log.exception("bus.request_failed", subject=subject)
                result = Unavailable("an error of the service")
            await self._link.pause("served:answer")
            if request.answered and not request.answer.done():
                request.answer.set_result(result)

        def receive(message: CoreMessage) -> None:
            unasked = _Request(message.subject, message.data, answer=loop.create_future(), answered=False)
            task = loop.create_task(answer(message if isinstance(message, _Request) else unasked))
            running.add(task)
            task.add_done_callback(running.discard)

        return self._link.listen(subject, receive, queue)

    async def publish(self, subject: str, data: bytes) -> None:
        """See `api.Core.publish`."""
        _check_size(data)
        await self._link.best_effort("publish", lambda: self._server.publish(CoreMessage(subject, data)))

    async def subscribe(self, subject: str, listener: Listener) -> Subscription:
        """See `api.Core.subscribe`."""
        await self._link.pause("subscribe")
        received: asyncio.Queue[CoreMessage] = asyncio.Queue()

        async def tell() -> None:
            while True:
                message = await received.get()
                await self._link.pause("heard")
                try:
                    await listener(Message(message.subject, message.data))
                except Exception:
                    log.exception("bus.listener_failed", subject=message.subject)

        telling = asyncio.create_task(tell())
        subscription = self._link.listen(subject, received.put_nowait)

        def close() -> None:
            subscription.stop()
            telling.cancel()

        self._link.at_death(close)
        return Closable(close)


def _check_size(data: bytes) -> None:
    if len(data) > streams.MAX_MESSAGE_BYTES:
        raise TooLarge(f"{len(data)} bytes are over the limit of the server")
