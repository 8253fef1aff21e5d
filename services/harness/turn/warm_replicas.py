"""Which replica drove a session last: first deliveries of its inputs are passed on to it (rule 1).

It has the conversation in memory, so it need not read what happened since this process drove the session last. Nothing
here is sure: a delivery that is handled by another replica is handled as well.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from holdfast.bus import subjects
from holdfast.bus.api import Bus, Delivery, Message, Subscription
from holdfast.bus.ids import Key

SESSIONS_LIMIT: Final = 20_000
"""Sessions of which the replica is remembered; the one that was released first is forgotten first."""


class WarmReplicas:
    """What this replica has heard. `on_other` is awaited with each session of which others wrote the end."""

    def __init__(
        self, bus: Bus, name: str, on_other: Callable[[Key], Awaitable[None]], *, limit: int = SESSIONS_LIMIT
    ) -> None:
        self._bus = bus
        self._name = name
        self._on_other = on_other
        self._limit = limit
        self._replicas: dict[Key, str] = {}

    def __len__(self) -> int:
        return len(self._replicas)

    async def listen(self, cell: str) -> Subscription:
        """Hear what other replicas release, until closed."""
        return await self._bus.core.subscribe(subjects.all_kept(cell), self._hear)

    async def _hear(self, message: Message) -> None:
        name = message.data.decode()
        if name == self._name:
            return
        key = subjects.key_of(message.subject)
        self._replicas.pop(key, None)
        if name:  # else the session service has appended
            self._replicas[key] = name
        if len(self._replicas) > self._limit:
            del self._replicas[next(iter(self._replicas))]
        await self._on_other(key)

    async def announce(self, key: Key) -> None:
        """This replica releases the session, and knows its conversation."""
        self._replicas.pop(key, None)
        await self._bus.core.publish(subjects.kept(key), self._name.encode())

    async def pass_on(self, delivery: Delivery, *, load: int) -> bool:
        """Pass a first delivery on to the replica that knows its session. False: it is to be handled here.

        `load`: sessions that this replica drives. One that drives many more refuses.
        """
        if delivery.count > 1 or delivery.passed_on or (to := self._replicas.get(delivery.key)) is None:
            return False
        if await self._bus.inbox.pass_on(delivery, to, load=load):
            return True
        self._replicas.pop(delivery.key, None)
        return False
