"""Model requests that are sent beside the append of their start (rule 6): their response waits for the ack."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self, cast

from holdfast.bus import events as ev
from holdfast.bus.head import Head
from holdfast.bus.ids import new_id
from holdfast.harness.conversation import prompt
from holdfast.harness.conversation.context import Context, Contexts
from holdfast.harness.models.interface import Piece, Request
from holdfast.harness.tools.offered_tools import offered, withdrawn
from holdfast.harness.turn.decide import request_start
from holdfast.harness.turn.replica import Replica
from holdfast.process.faults import point

APPEND_HEAD_START_ROUNDS: Final = 2
"""Rounds of the event loop that the append has to itself: it is written to the socket before the request is made."""


def model_request(replica: Replica, config: ev.SessionConfig, context: Context) -> Request:
    """The request for the next response of the conversation `context`."""
    tools = offered(config.agent)
    return Request(
        model=config.agent["model"],
        system=prompt.system(config, egress=replica.settings.egress == "on"),
        messages=context.messages(),
        tools=[*tools, *withdrawn(tools, context.tool_names)],
        max_tokens=replica.settings.response_tokens(replica.facts(config)),
        may_call_tools=bool(tools),
    )


class StartedRequest:
    """A model request that is sent at once, though the append of its start may not be known to be stored.

    Iterate `pieces` only after that append was acknowledged; `drop` it if it was refused, or the claim is lost. Nothing
    but the first piece is read from the connection before. `close` it in the end.
    """

    def __init__(
        self, replica: Replica, start: ev.ModelRequestStart, config: ev.SessionConfig, context: Context
    ) -> None:
        """`context` is the thread's as it is after the start."""
        self.start = start
        self.item_count = len(context.items)
        """Items of the context that the request was made of."""
        self._replica = replica
        self._stream: AsyncGenerator[Piece] | None = None
        self._first = asyncio.create_task(self._send(config, context))
        self._first.add_done_callback(_retrieve)

    async def _send(self, config: ev.SessionConfig, context: Context) -> Piece | None:
        for _ in range(APPEND_HEAD_START_ROUNDS):
            await asyncio.sleep(0)
        point("harness.before_model_request")
        request = model_request(self._replica, config, context)
        self._stream = cast("AsyncGenerator[Piece]", self._replica.model.stream(request))
        return await anext(self._stream, None)

    async def pieces(self) -> AsyncGenerator[Piece]:
        """The pieces of the response, as `Model.stream`."""
        first = await self._first
        if first is None or self._stream is None:
            return
        yield first
        async for piece in self._stream:
            yield piece

    async def close(self) -> None:
        """Close the connection to the model if the response was not read to its end."""
        self._first.cancel()
        await asyncio.gather(self._first, return_exceptions=True)
        if self._stream is not None:
            await self._stream.aclose()

    async def drop(self) -> None:
        """Close it unread. Count it if it was sent: the model may have been paid for it."""
        await self.close()
        if self._stream is not None:
            self._replica.dropped.add(self.start.id)


def _retrieve(task: "asyncio.Task[Piece | None]") -> None:
    """A failure of a request whose process stops before it is read is told to nobody."""
    if not task.cancelled():
        task.exception()


class RequestsBeside:
    """The model requests that are sent beside one append. Those whose attempt is refused are dropped.

    Use it as a context around the append; what is left in `requests` after it was stored with its start.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.requests: dict[str, StartedRequest] = {}
        """By thread."""
        self._refused: list[StartedRequest] = []

    def send(
        self,
        starts: Mapping[str, ev.ModelRequestStart],
        events: Sequence[ev.Event],
        *,
        config: ev.SessionConfig,
        contexts: Contexts,
    ) -> None:
        """Send the requests with these starts. `events`: what their commit adds to `contexts`, of inputs and results.

        A further call means that the attempt before was refused.
        """
        self._refused += self.requests.values()
        self.requests = {
            thread: StartedRequest(self._replica, start, config, contexts.thread(thread).after(events, thread))
            for thread, start in starts.items()
        }

    def start(
        self,
        after: Head,
        events: Sequence[ev.Event],
        *,
        size: int,
        config: ev.SessionConfig,
        contexts: Contexts,
        may_start: Callable[[str], bool],
    ) -> list[ev.ModelRequestStart]:
        """Send the model requests that are the next steps of threads for which `may_start`. Returns their starts.

        `after` is the head after `events`, which add `size` characters to the conversations. None while the process is
        to stop.
        """
        starts: dict[str, ev.ModelRequestStart] = {}
        for thread in () if self._replica.draining.is_set() else after.threads:
            if not may_start(thread):
                continue
            found = request_start(
                after,
                now=self._replica.now(),
                fresh_chars=contexts.thread(thread).fresh + size,
                limits=self._replica.limits(config),
                thread=thread,
                new_id=new_id,
            )
            if found is not None:
                starts[thread] = found
        self.send(starts, events, config=config, contexts=contexts)
        return [*starts.values()]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, failed: type[BaseException] | None, _exc: BaseException | None, _at: TracebackType | None
    ) -> None:
        if failed is not None:
            self._refused += self.requests.values()
            self.requests = {}
        for request in self._refused:
            await request.drop()
