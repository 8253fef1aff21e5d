"""The people of a schedule: a client that sends, interrupts and answers, and an operator who updates and archives."""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Literal

import msgspec

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Release
from holdfast.bus.commits import commit
from holdfast.bus.errors import Conflict, Unavailable
from holdfast.bus.head import PRIMARY_THREAD, Head
from holdfast.bus.ids import FIRST_CELL, Key, new_id
from holdfast.bus.inputs import ClientInput
from holdfast.bus.streams import SNAPSHOTS
from tests.simulation.actors import AGENT, POISON_TEXT
from tests.simulation.fault_injector import DEADLY_INPUT_TEXT
from tests.simulation.plan import CHILD, FAULT_PERIOD_S, Plan


async def retry_unavailable(act: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Retry as a publisher does, for at most 20 s (rule 19); 0 if none succeeded."""
    deadline = asyncio.get_running_loop().time() + 20
    while asyncio.get_running_loop().time() < deadline:
        try:
            return await act()
        except Unavailable:
            await asyncio.sleep(0.2)
    return 0


class User:
    """Does what the plan says, to one session. All requests go through the bus of the edge."""

    def __init__(
        self,
        key: Key,
        plan: Plan,
        rng: random.Random,
        *,
        now: Callable[[], int],
        head: Callable[[], Head],
        inbox: Callable[[], Collection[int]],
    ) -> None:
        """`head`: the head of the session as it is in the log now. `inbox`: what waits in its inbox."""
        self._key = key
        self._plan = plan
        self._rng = rng
        self._now = now
        self._head = head
        self._inbox = inbox
        self._answered: set[str] = set()
        self.acknowledged: set[str] = set()
        """Ids of the events whose input was stored, so that they may not be lost."""

    async def create(self, bus: Bus) -> None:
        config = ev.SessionConfig(
            id="sevt_config", tenant="acme", agent=AGENT, environment_id="env_1", environment={"type": "cloud"},
            primary_thread="sthr_1",
        )  # fmt: skip
        first = commit(None, [config], by="edge", new_id=new_id, now=self._now())
        await retry_unavailable(lambda: bus.log.append(self._key, first, 0))

    async def send(self, bus: Bus, *events: ev.ClientEvent) -> None:
        value = ClientInput(id=new_id("in"), events=list(events))
        if await retry_unavailable(lambda: bus.inbox.put(self._key, value)):
            self.acknowledged |= {e.id for e in events}

    async def say(self, bus: Bus, text: str, thread: str = PRIMARY_THREAD) -> None:
        await self.send(bus, ev.UserMessage(id=new_id("sevt"), thread=thread, content=[{"type": "text", "text": text}]))

    async def append(self, bus: Bus, event: ev.Event, *, archive: bool = False) -> None:
        """An update of the session service, under the same check as every append (rule 19)."""
        for _ in range(20):
            try:
                last = await bus.log.head(self._key, leader=True)
                assert last is not None
                if last.commit.head.deleted:
                    return
                if archive and (last.commit.head.claim or last.commit.head.status != "idle"):
                    await asyncio.sleep(0.3)
                    continue
                await bus.log.append(
                    self._key, commit(last, [event], by="edge", new_id=new_id, now=self._now()), last.seq
                )
            except Conflict:
                continue
            except Unavailable:
                return
            if archive:
                ask = Release(tenant=self._key.tenant, session=self._key.session, files=self._rng.random() < 0.5)
                await bus.core.publish(subjects.release(FIRST_CELL), msgspec.json.encode(ask))
            return

    async def delete(self, bus: Bus) -> None:
        """Delete the session as soon as it rests or is archived, and erase it for the first time (rule 29)."""
        while not self._head().deleted:
            await asyncio.sleep(self._rng.choice([0.001, 0.01, 0.1]))
            try:
                last = await bus.log.head(self._key, leader=True)
                head = last.commit.head if last else Head()
                if last is None or (not head.archived and (head.claim or head.status != "idle")):
                    continue
                gone = commit(last, [ev.SessionDeleted(id=new_id("sevt"))], by="edge", new_id=new_id, now=self._now())
                await retry_unavailable(lambda last=last, gone=gone: bus.log.append(self._key, gone, last.seq))
            except (Conflict, Unavailable):
                continue
        ask = Release(tenant=self._key.tenant, session=self._key.session, files=True)
        await bus.core.publish(subjects.release(FIRST_CELL), msgspec.json.encode(ask))
        await self.erase(bus, snapshot=True)

    async def erase(self, bus: Bus, *, snapshot: bool) -> None:
        """Erase what streams have of the session, and its snapshot, as the session service does (rule 29)."""
        last = await bus.log.head(self._key, leader=True)
        assert last is not None
        await retry_unavailable(lambda: bus.log.erase(self._key, last.seq))
        await retry_unavailable(lambda: bus.inbox.erase(self._key))
        if snapshot:
            await retry_unavailable(lambda: bus.kv.erase_all(SNAPSHOTS, subjects.snapshot_key(self._key)))

    async def act(self, bus: Bus) -> None:
        """Everything the plan says, at random times, one task each."""
        acts: list[Callable[[], Coroutine[Any, Any, None]]] = []
        for number in range(self._plan.messages):
            text = f"message {number}"
            if number == 0 and (self._plan.poison or self._plan.deadly):
                text = DEADLY_INPUT_TEXT.decode() if self._plan.deadly else POISON_TEXT
            thread = CHILD if self._plan.child and number % 2 else PRIMARY_THREAD
            acts.append(lambda text=text, thread=thread: self.say(bus, text, thread))
        acts += [lambda: self.send(bus, self._interrupt())] * self._plan.interrupts
        acts += [lambda: self.append(bus, ev.SessionUpdated(id=new_id("sevt"), title="new"))] * self._plan.updates
        if self._plan.archive:
            acts.append(lambda: self.append(bus, ev.SessionStatusTerminated(id=new_id("sevt")), archive=True))

        if self._plan.delete:
            acts.append(lambda: self.delete(bus))

        async def at(seconds: float, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
            await asyncio.sleep(seconds)
            await act()

        times = [0.0, *(self._rng.choice([0.0, 0.01, 0.5, self._rng.uniform(0, FAULT_PERIOD_S)]) for _ in acts[1:])]
        await asyncio.gather(*(at(t, a) for t, a in zip(times, acts, strict=True)))

    async def client(self, bus: Bus) -> None:
        """Answers what waits for the client, some time after the session became idle."""
        while True:
            await asyncio.sleep(0.5)
            head = self._head()
            open_ = [c for c in head.calls if c.state in ("ask", "client") and c.id not in self._answered]
            if head.status != "idle" or not open_ or self._rng.random() < 0.3:
                continue
            some = open_ if self._rng.random() < 0.6 else open_[:1]
            self._answered |= {c.id for c in some}
            await self.send(bus, *(self._answer(c.id, c.state) for c in some))

    def _answer(self, call: str, state: str) -> ev.ClientEvent:
        if state == "client":
            done: list[ev.Block] = [{"type": "text", "text": "done"}]
            return ev.UserCustomToolResult(id=new_id("sevt"), custom_tool_use_id=call, content=done)
        result: Literal["allow", "deny"] = self._rng.choice(("allow", "deny"))
        return ev.UserToolConfirmation(id=new_id("sevt"), tool_use_id=call, result=result)

    async def impatient(self, bus: Bus) -> None:
        """Interrupts open calls, some before their worker has heard of them."""
        left = self._plan.impatient
        while left and asyncio.get_running_loop().time() < FAULT_PERIOD_S:
            await asyncio.sleep(self._rng.choice([0.05, 0.3, 1.0]))
            if any(c.state == "ready" for c in self._head().calls):
                left -= 1
                await self.send(bus, self._interrupt())

    async def patient(self, bus: Bus) -> None:
        """Sends two messages at once, each time that the session rests."""
        left = self._plan.pairs
        while left and asyncio.get_running_loop().time() < FAULT_PERIOD_S:
            await asyncio.sleep(self._rng.choice([0.05, 0.3, 1.0]))
            if self._head().claim is None and not self._inbox():
                left -= 1
                await asyncio.gather(self.say(bus, f"pair {left}"), self.say(bus, f"pair {left} again"))

    def _interrupt(self) -> ev.UserInterrupt:
        """An interrupt of the session; if it has two threads, of one of them or of both."""
        named = self._rng.choice([None, PRIMARY_THREAD, CHILD]) if self._plan.child else None
        if named is None:
            return ev.UserInterrupt(id=new_id("sevt"))
        return ev.UserInterrupt(id=new_id("sevt"), thread=named, session_thread_id=named or "sthr_1")
