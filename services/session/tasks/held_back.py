"""Deliveries of tasks that wait for a place at the gate of their binding (rule 39).

They are left in the queue, which delivers them again after a pause. The replica that left one there shortens the pause
once there is a place: all replicas hear of each change of a gate. If that replica dies, the pause ends by itself.
"""

import asyncio
from typing import Final

from holdfast.bus.jetstream.consumer import StreamDelivery
from holdfast.session.tasks.gate import Message, next_in_line
from holdfast.session.tasks.gates import Gates, Kind

IN_LINE_DELAY_S: Final = 10.0
"""Pause of a task whose order is kept: if the replica that left it there dies, those behind it wait for this long."""

BEHIND_DELAY_S: Final = 60.0
"""Pause of a task that is not even in line."""

MAX_HELD: Final = 20_000
"""Deliveries of one kind that are remembered, without their bodies; the one that was left first is forgotten first."""


class MustWait(Exception):
    """There is no place for the task now."""

    def __init__(self, kind: Kind, message: Message, *, is_in_line: bool = False) -> None:
        super().__init__("the binding has as many open tasks as it allows")
        self.kind = kind
        self.message = message
        self.is_in_line = is_in_line


class HeldBack:
    """Knows the deliveries that this replica has left in the queue for want of a place."""

    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self._held: dict[Kind, dict[Message, StreamDelivery]] = {}
        self._waking: set[asyncio.Task[None]] = set()
        gates.changed = self._wake

    async def hold(self, delivery: StreamDelivery, why: MustWait) -> None:
        """Leave the delivery in the queue until there is a place, or until its pause ends."""
        delivery.drop_body()
        held = self._held.setdefault(why.kind, {})
        held.pop(why.message, None)
        held[why.message] = delivery
        if len(held) > MAX_HELD:
            del held[next(iter(held))]
        await delivery.nak(IN_LINE_DELAY_S if why.is_in_line else BEHIND_DELAY_S)
        self._wake(why.kind)  # a place may have become free since the gate was read

    def forget(self, kind: Kind, message: Message) -> None:
        """The message was delivered again, or is gone."""
        held = self._held.get(kind)
        if held and held.pop(message, None) and not held:
            del self._held[kind]

    def kind_of(self, tenant: str, task: str) -> str | None:
        """The kind of a task that this replica has left in the queue; None if it has not."""
        for (of_tenant, kind), held in self._held.items():
            if of_tenant == tenant and any(message.task == task for message in held):
                return kind
        return None

    def _wake(self, kind: Kind) -> None:
        held = self._held.get(kind)
        if not held:
            return
        for message in next_in_line(self._gates.known(kind), held, limit=self._gates.limit(kind)):
            delivery = held[message]
            self.forget(kind, message)
            task = asyncio.create_task(delivery.nak(), name="task-wake")
            self._waking.add(task)
            task.add_done_callback(self._waking.discard)
