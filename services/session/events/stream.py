"""`GET /v1/sessions/{id}/events/stream`: the events of a session while its log grows, with deltas on request.

A client resumes without a gap by `Last-Event-ID` or `?after=`.
"""

import asyncio
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from holdfast.bus.ids import Key
from holdfast.session.events.open_streams import OpenStreams
from holdfast.session.events.writer import EventStreamResponse
from holdfast.session.http.errors import invalid
from holdfast.session.http.routing import Call, Route
from holdfast.session.log.history import find_position
from holdfast.session.log.repository import SessionRepository
from holdfast.session.log.serialize import Position, after_commit, parse_position
from holdfast.session.log.unseen_inputs import UnseenInput


class StreamQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deltas, and from where. Without `after`: what is stored from now on, and what the client has just sent."""

    event_deltas: Annotated[
        list[Literal["agent.message", "agent.thinking", "agent.tool_result"]], Meta(max_length=100)
    ] = []
    """Types of the events whose deltas are sent. `agent.tool_result`, an extension: what a running `bash` prints."""
    after: str | None = None
    """Id or position of the last event that the client knows. The header Last-Event-ID takes precedence."""


class StreamHandlers:
    """`stopping` is set when the process drains: open streams end then."""

    def __init__(self, sessions: SessionRepository, streams: OpenStreams, stopping: asyncio.Event) -> None:
        self._sessions = sessions
        self._streams = streams
        self._stopping = stopping

    async def stream(self, call: Call) -> Response:
        """Events as they are stored, from the moment the answer begins or from the position that is given.

        Without a position, the first stream that is opened within 5 s after events were sent, or after the end of their
        turn, begins with those events, so that a client may send first and then listen; not if it has listed the events
        or seen the end meanwhile.
        `event_deltas[]` also shows each agent message while it is generated, if the stream was open before its model
        request sent the first piece; a stream that is opened later gets none of that request. With `agent.tool_result`
        it shows what a running `bash` prints, in the same frames, under the id of the `agent.tool_use` event.
        """
        key = self._sessions.key(call.tenant, call.id("session_id"))
        self._streams.add()
        try:
            return await self._open(key, call)
        except BaseException:
            self._streams.remove()
            raise

    async def _open(self, key: Key, call: Call) -> Response:
        given: str | None = call.request.headers.get("last-event-id") or call.query.after
        unseen = None if given else self._sessions.unseen.find(key)
        position = await (self._position(key, call, given) if given else self._before(key, unseen))
        response = EventStreamResponse(
            self._sessions,
            key,
            call.query.event_deltas,
            position,
            stopping=self._stopping,
            on_end=self._streams.remove,
        )
        await response.open()
        if unseen is not None:
            self._sessions.unseen.forget(key, unseen)
        return response

    async def _position(self, key: Key, call: Call, given: str) -> Position:
        """The position that the client has given. Raises ApiError 400 for one that this session does not have."""
        position = parse_position(given)
        if position is None:
            position = await find_position(self._sessions, key, given)
        elif position.seq > (await self._sessions.last_commit(key, leader=True)).seq:
            position = None
        if position is None:
            name = "Last-Event-ID" if call.request.headers.get("last-event-id") else "after"
            raise invalid(f"{name}: names no event of this session; leave it out to read from now on")
        return position

    async def _before(self, key: Key, unseen: UnseenInput | None) -> Position | None:
        """The position before the input that the client has sent and whose outcome it has not seen, if there is one.

        None: behind what is stored when the stream opens.
        """
        if unseen is None:
            return None
        last = await self._sessions.last_commit(key, leader=True)
        if not unseen.begins_stream(last.commit.head, self._sessions.now()):
            return None
        commits = await self._sessions.bus.log.read(key, unseen.seq, leader=True)
        for stored in commits:
            if any(event.id == unseen.first_event_id for event in stored.commit.events):
                return Position(stored.seq, -1)
        return after_commit(commits[-1].seq if commits else unseen.seq)


def routes(sessions: SessionRepository, streams: OpenStreams, stopping: asyncio.Event) -> list[Route]:
    handlers = StreamHandlers(sessions, streams, stopping)
    path = "/v1/sessions/{session_id}/events/stream"
    return [Route(method="GET", path=path, handle=handlers.stream, query=StreamQuery, stream=True)]
