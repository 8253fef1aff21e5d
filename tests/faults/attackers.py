"""Attackers: each runs one attack after the other, in a session of its own that is checked and deleted afterwards."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from anthropic import APIError, AsyncAnthropic
from msgspec import Struct, field

from holdfast.bus.api import Bus
from holdfast.bus.errors import BusError
from tests.faults.attacks import ATTACKS, Attack
from tests.faults.neighbours import not_given_up
from tests.faults.step_times import Interval
from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.invariants import check_session, read_log
from tests.support.stack import Stack, key

TURN_WITHIN_S: Final = 180.0
"""Seconds within which the turn of an attack ends, whatever it ends with."""

POLL_INTERVAL_S: Final = 0.5
"""Seconds between two looks at a session under attack."""


def deck(seed: int, attacks: Sequence[Attack] = ATTACKS) -> Iterator[Attack]:
    """Attacks for ever: all of them in a random order, then all in another one."""
    rng = random.Random(seed)
    while True:
        yield from rng.sample(attacks, len(attacks))


class Attacker(Struct, kw_only=True):
    """What is wrong is reported by `complain`, and the attacker goes on. All attackers draw from the same deck."""

    stack: Stack
    client: AsyncAnthropic
    bus: Bus
    attacks: Iterator[Attack]
    complain: Callable[[str], None]
    running: list[str]
    """Names of the attacks that run now, of all attackers."""
    deleted: list[str]
    """Ids of sessions that were checked and deleted, of everybody."""
    done: list[Interval] = field(default_factory=list)

    async def live(self, until: float) -> None:
        """Attack until that time of `time.monotonic()`; an attack that has begun is finished."""
        while time.monotonic() < until:
            attack = next(self.attacks)
            began_at = time.time_ns() // 1000
            self.running.append(attack.name)
            try:
                await self._attack(attack)
            except (AssertionError, TimeoutError, APIError, BusError) as exc:
                self.complain(f"{attack.name}: {type(exc).__name__}: {exc}")
            finally:
                self.running.remove(attack.name)
                self.done.append(Interval(attack.name, began_at, time.time_ns() // 1000))

    async def _attack(self, attack: Attack) -> None:
        conversation = await Conversation.begin(self.client)
        before = await self._count(conversation.id)
        await conversation.say(await self.stack.model.play(*attack.steps))
        if attack.beside:
            await attack.beside(self.stack, conversation)
        await eventually(lambda: self._at_rest(conversation.id, before), within=TURN_WITHIN_S, what="its turn over")
        await check_session(self.stack, conversation)
        not_given_up(await read_log(self.stack, conversation.id))
        await self.client.beta.sessions.delete(conversation.id)
        self.deleted.append(conversation.id)

    async def _count(self, session: str) -> int:
        stored = await self.bus.log.head(key(session), leader=True)
        return stored.commit.head.count if stored else 0

    async def _at_rest(self, session: str, before: int) -> bool:
        """Whether the session has taken something since it had `before` events, and is idle.

        The inbox is not looked at: it may hold 100 MB.
        """
        await asyncio.sleep(POLL_INTERVAL_S)
        stored = await self.bus.log.head(key(session), leader=True)
        head = stored.commit.head if stored else None
        return head is not None and head.count > before and head.claim is None and head.status == "idle"
