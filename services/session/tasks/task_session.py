"""The session of one attempt of a task: makes it, puts the task into it, and looks whether that was done before."""

from contextlib import aclosing

from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.errors import Conflict
from holdfast.bus.head import Head
from holdfast.bus.ids import Key
from holdfast.bus.inputs import ClientInput
from holdfast.process.faults import point
from holdfast.session.agents.schema import AgentRef
from holdfast.session.agents.store import AgentStore
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.http.errors import ApiError
from holdfast.session.log.repository import SessionRepository
from holdfast.session.tasks.plan import Plan
from holdfast.session.tasks.rejection import Rejected
from holdfast.session.tasks.task_ids import TaskIds


class TaskSessions:
    """Every method raises BusError."""

    def __init__(self, sessions: SessionRepository, agents: AgentStore, environments: EnvironmentStore) -> None:
        self._sessions = sessions
        self._agents = agents
        self._environments = environments

    @property
    def cell(self) -> str:
        """The cell of new sessions."""
        return self._sessions.cells[0]

    def now(self) -> int:
        """Microseconds since 1970."""
        return self._sessions.now()

    async def head(self, key: Key) -> Head | None:
        """The head as the leader has it; None if there is no session yet. Raises Rejected if its cell is not served."""
        if key.cell not in self._sessions.cells:
            raise Rejected("refused", f"the session of this task is in the cell {key.cell}, which is not served")
        last = await self._sessions.bus.log.head(key, leader=True)
        return last.commit.head if last else None

    async def create(self, key: Key, plan: Plan, ids: TaskIds, task_id: str) -> None:
        """Make the session, unless somebody has made it. It is complete: its task is owed by the task queue.

        Raises Rejected if its agent or its environment cannot be used.
        """
        config = plan.binding.config
        ref = AgentRef(id=config.agent_id, version=config.agent_version)
        try:
            agent = await self._agents.for_session(key.tenant, ref)
            environment = await self._environments.for_session(key.tenant, config.environment_id)
        except ApiError as exc:
            raise Rejected("refused", exc.message) from None
        first = ev.SessionConfig(
            id=ids.config,
            tenant=key.tenant,
            agent=agent,
            environment_id=environment.id,
            environment=environment.config,
            primary_thread=ids.thread,
            title=plan.title,
            metadata={**config.metadata, "task_id": task_id, "task_kind": plan.binding.kind},
            first_input=None,
        )
        try:
            await self._sessions.append(key, None, [first])
        except Conflict:
            return
        point("task.session_made")

    async def put(self, key: Key, plan: Plan, ids: TaskIds) -> None:
        """Store the message of the task in the inbox of the session."""
        sessions = self._sessions
        message = ev.UserMessage(id=ids.event, content=[{"type": "text", "text": plan.message}])
        seq = await sessions.bus.inbox.put(key, ClientInput(id=ids.input, events=[message]))
        point("task.input_put")
        sessions.pending.put(key, await sessions.bus.inbox.stream_epoch(key.cell), seq, [replace(message, content=[])])

    async def rests(self, key: Key, ids: TaskIds) -> bool:
        """Whether the session has nothing to do for the task any more: its turn has ended, or waits for a person.

        The inbox is read first: an input that is taken between the two reads is seen as a turn in the log.
        """
        if key.cell not in self._sessions.cells:
            return True  # nobody drives it: its cell was archived
        waits = await self._waits(key, ids)
        head = await self.head(key)
        return head is None or has_ended(head) or (head.is_at_rest and not waits)

    async def has_got(self, key: Key, ids: TaskIds) -> bool:
        """Whether the session has taken the task for a turn, or will: it waits there and the session has not ended.

        The inbox is read first: an input that is taken between the two reads is found in the log.
        """
        waits = await self._waits(key, ids)
        head = await self.head(key)
        if head is None:
            return False
        if waits and not has_ended(head):
            return True
        return await self._was_taken(key, ids)

    async def _waits(self, key: Key, ids: TaskIds) -> bool:
        async with aclosing(self._sessions.bus.inbox.waiting(key)) as inputs:
            async for pending in inputs:
                if isinstance(pending.input, ClientInput) and pending.input.id == ids.input:
                    return True
        return False

    async def _was_taken(self, key: Key, ids: TaskIds) -> bool:
        """Whether the event is in the log; not if it was taken when the session was archived, as that starts no turn.

        Replicas serve the long part, the leader the rest.
        """
        log, at = self._sessions.bus.log, 0
        async with aclosing(log.pages(key)) as pages:
            async for page in pages:
                if found := _commit_with(page, ids.event):
                    return not found.commit.head.archived
                at = page[-1].seq if page else at
        found = _commit_with(await log.read(key, at, leader=True), ids.event)
        return found is not None and not found.commit.head.archived


def has_ended(head: Head) -> bool:
    """Whether the session takes no turn any more."""
    return bool(head.archived or head.deleted)


def _commit_with(page: list[Stored], event_id: str) -> Stored | None:
    return next((one for one in page if any(event.id == event_id for event in one.commit.events)), None)
