"""`/v1/sessions/{id}/events`: send and list. The events of a request become one input, taken whole or refused whole."""

from typing import Any

from holdfast.bus.ids import Key, new_id
from holdfast.session.events.listing import EventsQuery, list_page
from holdfast.session.events.schema import EventsSend
from holdfast.session.events.send import send
from holdfast.session.events.sender import check_sender
from holdfast.session.events.validation import SENT_EVENTS, to_events
from holdfast.session.http.routing import Call, Route
from holdfast.session.log.repository import SessionRepository
from holdfast.session.log.schema import EventPage, SentEvents


class EventHandlers:
    def __init__(self, sessions: SessionRepository) -> None:
        self._sessions = sessions

    async def send(self, call: Call) -> Any:
        """Send events to a session. They are stored before the answer, and taken by the agent in order."""
        key, events = self._key(call), to_events(call.body.events, SENT_EVENTS, new_id)
        check_sender(call.caller, events)
        return SentEvents(data=await send(self._sessions, key, events))

    async def list_events(self, call: Call) -> Any:
        """List the events of a session by time, oldest first unless `order` says otherwise."""
        key = self._key(call)
        self._sessions.unseen.mark_seen(key)
        return await list_page(self._sessions, key, call.query)

    def _key(self, call: Call) -> Key:
        return self._sessions.key(call.tenant, call.id("session_id"))


def routes(sessions: SessionRepository) -> list[Route]:
    handlers = EventHandlers(sessions)
    path = "/v1/sessions/{session_id}/events"
    return [
        Route(method="POST", path=path, handle=handlers.send, body=EventsSend, answer=SentEvents, access="publish"),
        Route(method="GET", path=path, handle=handlers.list_events, query=EventsQuery, answer=EventPage),
    ]
