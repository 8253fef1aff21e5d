"""How a session comes to be: first its creation commit, then its first input (rule 19).

With initial events these are two writes, and the process may die between them. The creation commit therefore names the
input that must follow. Until that is in the log or its request was answered, the session is half made: its id was told
to nobody and it is not listed. If the second write fails, a tombstone undoes the first, at once or by the sweeper.
"""

from typing import Annotated, Any, Final

import msgspec
import structlog
from msgspec import Meta

from holdfast.bus import events as ev
from holdfast.bus.errors import BusError, Conflict
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.inputs import ClientInput
from holdfast.process.faults import point
from holdfast.session.agents.schema import SessionAgent
from holdfast.session.agents.store import AgentStore
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.events.validation import Sent, events_of
from holdfast.session.http.errors import not_available
from holdfast.session.log.repository import SessionRepository, SessionView
from holdfast.session.storage.metadata import Metadata

MAX_TITLE: Final = 500
"""Characters of a title."""

Title = Annotated[str, Meta(max_length=MAX_TITLE)]

_log = structlog.get_logger()


class SessionCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/sessions`."""

    agent: SessionAgent
    environment_id: str
    budget: dict[str, Any] | None = None
    initial_events: list[Sent] | None = None
    metadata: Metadata | None = None
    resources: list[Any] | None = None
    title: Title | None = None
    vault_ids: list[str] | None = None


async def create(
    ledger: SessionRepository, agents: AgentStore, environments: EnvironmentStore, tenant: str, params: SessionCreate
) -> SessionView:
    """A new session, its initial events stored. Raises Problem 400 and 404, BusError; then there is no session."""
    _refuse_later(params)
    events = events_of(params.initial_events or (), name="initial_events", initial=True)
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
    key = Key(tenant, new_session_id(ledger.cell))
    opened = SessionView(key, await ledger.append(key, None, [config], whole=first is None), config)
    point("session.created")
    if first:
        await _put_first(ledger, opened, first)
    return opened


async def _put_first(ledger: SessionRepository, opened: SessionView, first: ClientInput) -> None:
    key = opened.key
    ledger.unseen.put(key, first.events[0].id, opened.last.seq)
    try:
        seq = await ledger.bus.inbox.put(key, first)
    except BusError:
        if await undo(ledger, opened):
            raise
        return  # it is in the log, although the bus did not say so
    ledger.queued.put(key, await ledger.bus.inbox.stream_epoch(key.cell), seq, first.events)
    ledger.model.put(key, opened.last, None, whole=True)


async def undo(ledger: SessionRepository, opened: SessionView) -> bool:
    """Take a half made session back. False when that is not possible any more, because its first input was taken."""
    try:
        await ledger.append(opened.key, opened.last, [ev.SessionDeleted(id=new_id("sevt"))])
    except Conflict:
        return False
    except BusError as exc:
        _log.warning("a half made session is left to the sweeper", session=opened.key.session, cause=str(exc))
    return True


def _refuse_later(params: SessionCreate) -> None:
    if params.budget is not None:
        raise not_available("budget: budgets are")
    if params.resources:
        raise not_available("resources: session resources are")
    if params.vault_ids:
        raise not_available("vault_ids: vaults in sessions are")
