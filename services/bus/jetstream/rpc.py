"""Requests, answers and plain messages over core NATS. Nothing here is stored.

An error is sent as the header `Nats-Service-Error-Code` with a code of `errors`, and a fixed sentence for each code.
Texts of exceptions never leave the process.
"""

import asyncio

import structlog

from holdfast.bus import errors, trace
from holdfast.bus.api import Handler, Listener, Message, Subscription
from holdfast.bus.errors import BusError, Unavailable
from holdfast.bus.jetstream.connection import Listening, RawMessage
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry
from holdfast.process import failures

log = structlog.get_logger()

CONCURRENT_REQUESTS = 256
"""Requests of one subject that are handled at the same time; further requests wait."""

REPLY_SUBJECT_PREFIXES = ("_INBOX", "_R_.")
"""Prefixes of the subjects on which a client waits for a response, in this account or in another one: for a request
from there the server makes the subject, and it lets no client name such a one."""

ERROR_CODE_HEADER = "Nats-Service-Error-Code"
ERROR_TEXT_HEADER = "Nats-Service-Error"

_ERROR_TEXTS = {
    "conflict": "it has moved on; read it again",
    "refused": "this is not allowed",
    "absent": "there is no such thing",
    "newer": "it was written by a newer version of Holdfast",
    "damaged": "what is stored cannot be read",
    "lost_body": "a stored body is missing",
    "no_responders": "a service that is needed does not run",
    "unavailable": "a service that is needed does not answer",
    "too_large": "it is too large",
    "internal": "an error of the service",
}
_ERROR_TYPES: dict[str, type[BusError]] = {
    kind.code: kind
    for kind in (
        errors.Refused, errors.Absent, errors.Damaged, errors.LostBody, errors.NoResponders, errors.Unavailable,
        errors.TooLarge,
    )
}  # fmt: skip


def _error(code: str) -> BusError:
    """The error for the code of a peer: a Conflict without its sequences; Unavailable for an unknown code."""
    if code == errors.Conflict.code:
        return errors.Conflict(expected=0, actual=0)
    if code == errors.Newer.code:
        return errors.Newer("a request, or what it is about,")
    kind = _ERROR_TYPES.get(code, errors.Unavailable)
    return kind(_ERROR_TEXTS.get(code, _ERROR_TEXTS["internal"]))


class Serving:
    """A served subject. `close` unsubscribes and waits for the running handlers."""

    def __init__(self, listening: Listening, running: set[asyncio.Task[None]]) -> None:
        self._listening = listening
        self._running = running

    async def close(self) -> None:
        await self._listening.close()
        if self._running:
            await asyncio.wait(list(self._running))


class NatsCore:
    """`api.Core` over NATS."""

    def __init__(self, client: JetStreamClient) -> None:
        self._client = client

    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:  # noqa: ASYNC109
        """See `api.Core.request`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        await self._client.up(deadline)
        try:
            got = await self._client.ask(subject, data, timeout_s=max(0.0, deadline - loop.time()))
        except errors.NoResponders:
            if self._client.is_settling:
                raise Unavailable(f"nobody listens on {subject} yet: the connection is new") from None
            raise
        code = got.headers.get(ERROR_CODE_HEADER, "")
        if code:
            raise _error(code)
        return got.data

    async def serve(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """See `api.Core.serve`."""
        running: set[asyncio.Task[None]] = set()
        places = asyncio.Semaphore(CONCURRENT_REQUESTS)

        async def receive(got: RawMessage) -> None:
            connection = self._client.connections
            await places.acquire()
            task = asyncio.create_task(self._answer(got, handler, connection))
            running.add(task)
            task.add_done_callback(finished)

        def finished(task: asyncio.Task[None]) -> None:
            running.discard(task)
            places.release()

        listening = await retry(self._client, self._client.listen, subject, receive, queue=queue)
        await retry(self._client, self._client.flush)  # from here on the server routes requests to it
        return Serving(listening, running)

    async def _answer(self, got: RawMessage, handler: Handler, connection: int) -> None:
        """Handle one request and answer it, if the connection on which it came, number `connection`, still stands.

        The server lets us answer on that connection only (`allow_responses`): on a later one the answer would be a
        permission violation. Its sender asks again.
        """
        headers: dict[str, str] | None = None
        body = b""
        with trace.under(got.headers, link=False):
            try:
                body = await handler(got.data)
            except BusError as exc:
                headers = {ERROR_CODE_HEADER: exc.code, ERROR_TEXT_HEADER: _ERROR_TEXTS.get(exc.code, exc.code)}
            except Exception:
                log.exception("bus.request_failed", subject=got.subject, failure=failures.bug("request"))
                headers = {ERROR_CODE_HEADER: "internal", ERROR_TEXT_HEADER: _ERROR_TEXTS["internal"]}
        # A service may publish on any subject, so a request must not choose one that its sender may not publish on.
        if not got.reply.startswith(REPLY_SUBJECT_PREFIXES):
            return
        if self._client.connections != connection:
            log.info("bus.not_answered", subject=got.subject, error="the connection of the request was lost")
            return
        try:
            await self._client.send(got.reply, body, headers=headers)
        except BusError as exc:
            log.warning("bus.not_answered", subject=got.subject, error=str(exc))

    async def publish(self, subject: str, data: bytes) -> None:
        """See `api.Core.publish`. Without a connection the message is dropped: later it would be stale."""
        if not self._client.is_up:
            return
        try:
            await self._client.send(subject, data, headers=trace.inject(None))
        except Unavailable as exc:
            log.warning("bus.not_sent", error=str(exc))

    async def subscribe(self, subject: str, listener: Listener) -> Subscription:
        """See `api.Core.subscribe`."""

        async def receive(got: RawMessage) -> None:
            with trace.under(got.headers, link=True):
                await listener(Message(got.subject, got.data))

        listening = await retry(self._client, self._client.listen, subject, receive)
        await retry(self._client, self._client.flush)
        return listening
