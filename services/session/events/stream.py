"""`GET /v1/sessions/{id}/events/stream`: the log as server-sent events while it grows, with token deltas on request.

A client resumes without a gap by `Last-Event-ID` or `?after=`.
"""

import asyncio
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from holdfast.bus.ids import Key
from holdfast.session.events.viewer import Viewer, behind
from holdfast.session.http.errors import invalid
from holdfast.session.http.routing import Call, Route
from holdfast.session.log.history import position_of
from holdfast.session.log.repository import SessionRepository
from holdfast.session.log.serialize import Position, parse_position


class StreamQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which previews, and from where. Without `after` what is stored from now on, and what the client has just sent."""

    event_deltas: Annotated[
        list[Literal["agent.message", "agent.thinking", "agent.tool_result"]], Meta(max_length=100)
    ] = []
    """Kinds of events that are shown while they are made. `agent.tool_result`, an extension, is what `bash` prints."""
    after: str | None = None
    """Id or position of the last event that is known already. The header Last-Event-ID goes before it."""


async def _start(ledger: SessionRepository, key: Key, call: Call) -> Position | None:
    """The position behind which the stream begins; None: behind what is stored when it opens.

    Raises Problem 400 for a position that this session does not have.
    """
    name = "Last-Event-ID" if call.request.headers.get("last-event-id") else "after"
    given: str | None = call.request.headers.get("last-event-id") or call.query.after
    if not given:
        return await _unseen(ledger, key)
    position = parse_position(given)
    if position is None:
        position = await position_of(ledger, key, given)
    elif position.seq > (await ledger.last(key, leader=True)).seq:
        position = None
    if position is None:
        raise invalid(f"{name}: names no event of this session; leave it out to read from now on")
    return position


async def _unseen(ledger: SessionRepository, key: Key) -> Position | None:
    """The position before the input that the client has sent and whose outcome it has not looked at, if any."""
    found = ledger.unseen.take(key)
    if found is None:
        return None
    commits = await ledger.bus.log.read(key, found.seq, leader=True)
    for stored in commits:
        if any(event.id == found.event for event in stored.commit.events):
            return Position(stored.seq, -1)
    return behind(commits[-1].seq if commits else found.seq)


def routes(ledger: SessionRepository, stopping: asyncio.Event) -> list[Route]:
    """`stopping` is set when the process drains: open streams end then."""

    async def stream(call: Call) -> Response:
        """Events as they are stored, from the moment the answer begins or from the position that is given.

        Without a position, the first stream that is opened within 5 s after events were sent begins with those events,
        so that a client may send first and then listen; not if it has listed the events or seen the end meanwhile.
        `event_deltas[]` also shows each agent message while it is generated, if the stream was open before its model
        request sent the first piece; a stream that is opened later gets none of that request. With `agent.tool_result`
        it shows what a running `bash` prints, in the same frames, under the id of the `agent.tool_use` event.
        """
        key = ledger.key(call.tenant, call.id("session_id"))
        viewer = Viewer(ledger, key, call.query.event_deltas, await _start(ledger, key, call), stopping)
        await viewer.open()
        return viewer

    path = "/v1/sessions/{session_id}/events/stream"
    return [Route(method="GET", path=path, handle=stream, query=StreamQuery, stream=True)]
