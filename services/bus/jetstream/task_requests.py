"""Tasks that other systems send as NATS requests, for which the session service answers itself.

One replica hears each request (queue group). NATS allows one answer to it, on the connection on which it came.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from holdfast.bus import subjects, trace
from holdfast.bus.errors import BusError
from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry
from holdfast.bus.jetstream.rpc import REPLY_SUBJECT_PREFIXES

QUEUE = "session"
"""Queue group of the replicas."""

log = structlog.get_logger()

Answer = Callable[[RawMessage], Awaitable[bytes]]
"""The answer to a request. It must not raise, and refuses what comes while too many wait: all are heard at once."""


class TaskRequests:
    def __init__(self, client: JetStreamClient) -> None:
        self._client = client
        self._running: set[asyncio.Task[None]] = set()

    async def serve(self, answer: Answer, stop: asyncio.Event) -> None:
        """Answer requests until `stop` is set, then finish those in progress. Raises BusError."""

        async def receive(got: RawMessage) -> None:
            if not got.reply.startswith(REPLY_SUBJECT_PREFIXES):
                return  # nobody waits there, or it is a subject on which its sender may not publish
            connection = self._client.connections
            task = asyncio.create_task(self._answer(got, answer, connection))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

        listening = await retry(self._client, self._client.listen, subjects.all_task_requests(), receive, queue=QUEUE)
        try:
            await stop.wait()
        finally:
            await listening.close()
        if self._running:
            await asyncio.wait(list(self._running))

    async def _answer(self, got: RawMessage, answer: Answer, connection: int) -> None:
        with trace.under(got.headers, link=True):
            data = await answer(got)
        if self._client.connections != connection:
            return  # the server would refuse it; the sender asks again
        try:
            await self._client.send(got.reply, data)
        except BusError as exc:
            log.warning("a request for a task was not answered", cause=str(exc))
