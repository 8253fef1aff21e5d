"""`/v1/sessions`: create, retrieve, list, update, archive, delete."""

from typing import Any, Literal

import msgspec

from holdfast.session.agents.store import AgentStore
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.http import pagination
from holdfast.session.http.errors import invalid, not_available
from holdfast.session.http.routing import Call, Route
from holdfast.session.http.timestamps import Instant
from holdfast.session.log.readmodel import Row
from holdfast.session.log.repository import SessionRepository, SessionView
from holdfast.session.log.serialize import session_object
from holdfast.session.sessions import create as creation
from holdfast.session.sessions import update as changes
from holdfast.session.sessions.create import SessionCreate
from holdfast.session.sessions.update import SessionUpdate


class SessionsQuery(pagination.PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters of the list. Archived sessions are left out unless asked for, also by `statuses[]=terminated`."""

    agent_id: str | None = None
    agent_version: int | None = None
    """Counts only together with `agent_id`."""
    after: Instant | None = msgspec.field(name="created_at[gt]", default=None)
    since: Instant | None = msgspec.field(name="created_at[gte]", default=None)
    before: Instant | None = msgspec.field(name="created_at[lt]", default=None)
    until: Instant | None = msgspec.field(name="created_at[lte]", default=None)
    deployment_id: str | None = None
    memory_store_id: str | None = None
    include_archived: bool = False
    order: Literal["asc", "desc"] = "desc"
    statuses: tuple[Literal["rescheduling", "running", "idle", "terminated"], ...] = ()

    def bound(self, tenant: str) -> list[Any]:
        """What a cursor of this list belongs to."""
        filters = msgspec.structs.replace(self, page=None, limit=pagination.DEFAULT_LIMIT)
        return ["sessions", tenant, msgspec.to_builtins(filters, enc_hook=int)]

    def conditions(self, tenant: str) -> list[tuple[str, list[Any]]]:
        """The filters as conditions of the read model."""
        found: list[tuple[str, list[Any]]] = [("tenant = ?", [tenant])]
        if self.agent_id is not None:
            found.append(("agent = ?", [self.agent_id]))
            if self.agent_version is not None:
                found.append(("version = ?", [self.agent_version]))
        for sign, at in ((">", self.after), (">=", self.since), ("<", self.before), ("<=", self.until)):
            if at is not None:
                found.append((f"created {sign} ?", [int(at)]))
        if self.statuses:
            found.append((f"status IN ({','.join('?' * len(self.statuses))})", list(self.statuses)))
        if not self.include_archived and "terminated" not in self.statuses:
            found.append(("archived = 0", []))
        return found


def routes(ledger: SessionRepository, agents: AgentStore, environments: EnvironmentStore) -> list[Route]:
    async def create(call: Call) -> Any:
        """Create a session of an agent in an environment. With `initial_events` it runs at once."""
        opened = await creation.create(ledger, agents, environments, call.tenant, call.body)
        return _shown(ledger, opened)

    async def retrieve(call: Call) -> Any:
        """Retrieve a session as it is now."""
        opened = await ledger.open(_key(ledger, call))
        if ledger.status(opened) != "running":
            ledger.unseen.seen(opened.key)
        return _shown(ledger, opened)

    async def list_sessions(call: Call) -> Any:
        """List sessions by time of creation, newest first unless `order` says otherwise; pages lead both ways."""
        await ledger.model.ready()
        return _page(ledger, call.tenant, call.query)

    async def update(call: Call) -> Any:
        """Change the title, the metadata, or, while the session rests, the tools of its agent."""
        return _shown(ledger, await changes.update(ledger, _key(ledger, call), call.body))

    async def archive(call: Call) -> Any:
        """End a session for good: it can be read, but takes no more events. Not while it runs."""
        return _shown(ledger, await changes.archive(ledger, _key(ledger, call)))

    async def delete(call: Call) -> Any:
        """Delete a session with its files. Not while it runs."""
        key = _key(ledger, call)
        await changes.delete(ledger, key)
        return {"id": key.session, "type": "session_deleted"}

    one = "/v1/sessions/{session_id}"
    return [
        Route(method="POST", path="/v1/sessions", handle=create, body=SessionCreate),
        Route(method="GET", path="/v1/sessions", handle=list_sessions, query=SessionsQuery),
        Route(method="GET", path=one, handle=retrieve),
        Route(method="POST", path=one, handle=update, body=SessionUpdate),
        Route(method="DELETE", path=one, handle=delete),
        Route(method="POST", path=f"{one}/archive", handle=archive),
    ]


def _key(ledger: SessionRepository, call: Call) -> Any:
    return ledger.key(call.tenant, call.id("session_id"))


def _shown(ledger: SessionRepository, opened: SessionView) -> dict[str, Any]:
    return session_object(
        opened.key.session, opened.head, opened.config, now=ledger.now(), status=ledger.status(opened)
    )


def _page(ledger: SessionRepository, tenant: str, query: SessionsQuery) -> dict[str, Any]:
    """A page and the cursors to both sides of it: `[1, created, id]` goes on behind a place, `[-1, …]` before it."""
    if query.deployment_id is not None:
        raise not_available("deployment_id: deployments are")
    if query.memory_store_id is not None:
        raise not_available("memory_store_id: memory stores are")
    bound = query.bound(tenant)
    where = query.conditions(tenant)
    way, created, name = 1, 0, ""
    if query.page is not None:
        match pagination.position(query.page, bound):
            case [1 | -1 as way, int(created), str(name)]:
                pass
            case _:
                raise invalid("page: not a cursor of this list")
    ascending = (query.order == "asc") == (way == 1)
    if query.page is not None:
        where.append((f"(created, id) {'>' if ascending else '<'} (?, ?)", [created, name]))
    rows = ledger.model.find(where, ascending=ascending, limit=query.limit + 1)
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    if way == -1:
        rows.reverse()
    behind = more if way == 1 else bool(rows)
    in_front = query.page is not None and bool(rows) if way == 1 else more
    now = ledger.now()
    return {
        "data": [
            session_object(r.id, r.head, r.config, now=now, status=ledger.queued.status(r.key, r.head)) for r in rows
        ],
        "next_page": _cursor(1, rows[-1], bound) if behind else None,
        "prev_page": _cursor(-1, rows[0], bound) if in_front else None,
    }


def _cursor(way: int, row: Row, bound: list[Any]) -> str:
    return pagination.cursor([way, row.head.created, row.id], bound)
