"""Tasks that have no record yet, as they wait for a place at the gate of their binding or have just got one."""

from typing import Literal, NamedTuple

from holdfast.session.tasks.gates import Gates
from holdfast.session.tasks.held_back import HeldBack


class Unrecorded(NamedTuple):
    """`waiting` for a place, or `open`: it has one, and no session yet."""

    kind: str
    state: Literal["waiting", "open"]


class UnrecordedTasks:
    """Known are those with a place, the first ones in line, and those that this replica has left in the queue.

    A task far behind in a long line may be known to another replica only. No bus is asked.
    """

    def __init__(self, gates: Gates, held_back: HeldBack) -> None:
        self._gates = gates
        self._held_back = held_back

    def find(self, tenant: str, task: str) -> Unrecorded | None:
        """None: the task is not known."""
        for kind, gate in self._gates.of_tenant(tenant):
            if gate.has(task):
                return Unrecorded(kind, "open")
            if any(message.task == task for message in gate.line):
                return Unrecorded(kind, "waiting")
        kind = self._held_back.kind_of(tenant, task)
        return Unrecorded(kind, "waiting") if kind else None
