"""Creates a session: first its creation commit, then its first input (rule 19).

With initial events these are two writes, and the process may die between them. The creation commit therefore names the
input that must follow. Until that input is in the log or the request was answered, the session is incomplete: no client
knows its id, and it is not listed. If the second write fails, a tombstone undoes the first, at once or by the sweeper.
"""

from contextlib import nullcontext

import structlog

from holdfast.bus import events as ev
from holdfast.bus.errors import BusError, Conflict
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.inputs import ClientInput
from holdfast.process.faults import point
from holdfast.session.agents.store import AgentStore
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.events.validation import INITIAL_EVENTS, to_events
from holdfast.session.log.repository import SessionRepository, SessionView
from holdfast.session.sessions.schema import SessionCreate

_log = structlog.get_logger()


async def create(
    sessions: SessionRepository, agents: AgentStore, environments: EnvironmentStore, tenant: str, params: SessionCreate
) -> SessionView:
    """A new session with its initial events stored.

    Raises ApiError 400, 404 and 429, and BusError; then there is no session, or none that anybody can see.
    """
    params.check_available()
    events = to_events(params.initial_events or (), INITIAL_EVENTS, new_id)
    agent = await agents.for_session(tenant, params.agent)
    environment = await environments.for_session(tenant, params.environment_id)
    first = ClientInput(id=new_id("inp"), events=events) if events else None
    config = ev.SessionConfig(
        id=new_id("sevt"),
        tenant=tenant,
        agent=agent,
        environment_id=environment.id,
        environment=environment.config,
        primary_thread=new_id("sthr"),
        title=params.title or None,
        metadata=params.metadata or {},
        first_input=first.id if first else None,
    )
    key = Key(tenant, new_session_id(sessions.cells[0]))
    with sessions.turns.starting(key, None) if first else nullcontext():
        view = SessionView(key, await sessions.append(key, None, [config], complete=first is None), config)
        point("session.created")
        if first:
            await _put_first_input(sessions, view, first)
    return view


async def _put_first_input(sessions: SessionRepository, view: SessionView, first: ClientInput) -> None:
    key, bus = view.key, sessions.bus
    sessions.unseen.put(key, first.events[0].id, view.last.seq, now=sessions.now())
    try:
        seq = await bus.inbox.put(key, first)
    except BusError:
        if await undo(sessions, view):
            raise
        return  # a harness has taken the input: it was stored although no answer came
    sessions.pending.put(key, await bus.inbox.stream_epoch(key.cell), seq, first.events)
    sessions.read_model.projection.put(key, view.last, None, complete=True)


async def undo(sessions: SessionRepository, view: SessionView) -> bool:
    """Append a tombstone to an incomplete session. False when its first input was taken: then it is complete."""
    try:
        await sessions.append(view.key, view.last, [ev.SessionDeleted(id=new_id("sevt"))])
    except Conflict:
        return False
    except BusError as exc:
        _log.warning("incomplete session left to the sweeper", session=view.key.session, error=str(exc))
    return True
