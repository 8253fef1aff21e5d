"""`/v1/sessions`: create, retrieve, list, update, archive, delete."""

from typing import Any, Final

from holdfast.bus.ids import Key, new_id
from holdfast.process.faults import point
from holdfast.session.agents.store import AgentStore
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.http import pagination
from holdfast.session.http.routing import Call, Route
from holdfast.session.log.readmodel.queries import ListedSession
from holdfast.session.log.repository import SessionRepository, SessionView
from holdfast.session.log.schema import Session, SessionDeleted, SessionPage
from holdfast.session.log.serialize import session_to_api
from holdfast.session.sessions.create import create
from holdfast.session.sessions.listing import Direction, SessionsQuery, neighbours
from holdfast.session.sessions.schema import SessionCreate, SessionUpdate
from holdfast.session.sessions.update import archive_events, delete_events, update_events

RELEASE_TIMEOUT_S: Final = 3.0
"""Seconds that archive and delete wait for a harness to release its claim on a session that is idle already."""


class SessionHandlers:
    def __init__(self, sessions: SessionRepository, agents: AgentStore, environments: EnvironmentStore) -> None:
        self._sessions = sessions
        self._agents = agents
        self._environments = environments

    async def create(self, call: Call) -> Session:
        """Create a session of an agent in an environment. With `initial_events` it runs at once."""
        return self._to_api(await create(self._sessions, self._agents, self._environments, call.tenant, call.body))

    async def retrieve(self, call: Call) -> Session:
        """Retrieve a session as it is now."""
        view = await self._sessions.view(self._key(call))
        if self._sessions.status(view) != "running":
            self._sessions.unseen.mark_seen(view.key)
        return self._to_api(view)

    async def list_sessions(self, call: Call) -> SessionPage:
        """List sessions by time of creation, newest first unless `order` says otherwise; pages lead both ways."""
        queries = self._sessions.read_model.queries
        await queries.wait_until_caught_up()
        query: SessionsQuery = call.query
        query.check_available()
        scope = query.cursor_scope(call.tenant)
        position = query.position(call.tenant)
        where = query.conditions(call.tenant, position)
        found = queries.sessions(where, ascending=query.ascending(position), limit=query.limit + 1)
        listed = found[: query.limit]
        behind, before = neighbours(position, rows=len(listed), has_more=len(found) > query.limit)
        if position is not None and position.direction == -1:
            listed.reverse()
        now = self._sessions.now()
        return SessionPage(
            data=[self._listed_to_api(session, now) for session in listed],
            next_page=_cursor(1, listed[-1], scope) if behind else None,
            prev_page=_cursor(-1, listed[0], scope) if before else None,
        )

    async def update(self, call: Call) -> Session:
        """Change the title, the metadata, or, while the session rests, the tools of its agent."""
        sessions = self._sessions
        params: SessionUpdate = call.body
        params.check_available()
        view = await sessions.change(
            self._key(call), lambda view: update_events(view.head, view.config, sessions.status(view), params, new_id)
        )
        return self._to_api(view)

    async def archive(self, call: Call) -> Session:
        """End a session for good: it can be read, but takes no more events. Not while it runs."""
        sessions, key = self._sessions, self._key(call)
        await self._wait_for_release(key)
        view = await sessions.change(
            key, lambda view: archive_events(view.head, view.config, sessions.status(view), new_id)
        )
        await sessions.release_sandbox(key, files=False)
        return self._to_api(view)

    async def delete(self, call: Call) -> SessionDeleted:
        """Delete a session with its files. Not while it runs.

        The answer comes when that is decided for good. What the session has is erased after it (`jobs.eraser`).
        """
        sessions, key = self._sessions, self._key(call)
        await self._wait_for_release(key)
        await sessions.change(key, lambda view: delete_events(view.head, sessions.status(view), new_id))
        point("session.deleted")
        await sessions.release_sandbox(key, files=True)
        return SessionDeleted(id=key.session)

    async def _wait_for_release(self, key: Key) -> None:
        """Wait for a harness that has claimed an idle session only to take an input that starts no turn."""
        view = await self._sessions.view(key)
        if view.head.claim and view.head.status == "idle" and self._sessions.status(view) == "idle":
            await self._sessions.wait_until_unclaimed(key, at_most_s=RELEASE_TIMEOUT_S)

    def _key(self, call: Call) -> Key:
        return self._sessions.key(call.tenant, call.id("session_id"))

    def _to_api(self, view: SessionView) -> Session:
        status = self._sessions.status(view)
        return session_to_api(view.key.session, view.head, view.config, now=self._sessions.now(), status=status)

    def _listed_to_api(self, listed: ListedSession, now: int) -> Session:
        status = self._sessions.pending.status(listed.key, listed.head)
        return session_to_api(listed.id, listed.head, listed.config, now=now, status=status)


def routes(sessions: SessionRepository, agents: AgentStore, environments: EnvironmentStore) -> list[Route]:
    handlers = SessionHandlers(sessions, agents, environments)
    all_sessions, one = "/v1/sessions", "/v1/sessions/{session_id}"
    return [
        Route(method="POST", path=all_sessions, handle=handlers.create, body=SessionCreate, answer=Session),
        Route(method="GET", path=all_sessions, handle=handlers.list_sessions, query=SessionsQuery, answer=SessionPage),
        Route(method="GET", path=one, handle=handlers.retrieve, answer=Session),
        Route(method="POST", path=one, handle=handlers.update, body=SessionUpdate, answer=Session),
        Route(method="DELETE", path=one, handle=handlers.delete, answer=SessionDeleted),
        Route(method="POST", path=f"{one}/archive", handle=handlers.archive, answer=Session),
    ]


def _cursor(direction: Direction, listed: ListedSession, scope: list[Any]) -> str:
    return pagination.cursor([direction, listed.head.created, listed.id], scope)
