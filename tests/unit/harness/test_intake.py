"""Tasks of one session that take inputs: what one of them read and could not store is not lost. In virtual time."""

import asyncio

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored, commit
from holdfast.bus.errors import Unavailable
from holdfast.bus.head import Claim
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.inputs import ClientInput
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.appender import Appender, ClaimedSession
from holdfast.harness.turn.inbox_watch import InboxWatch
from holdfast.harness.turn.intake import Intake
from holdfast.harness.turn.replica import Replica
from holdfast.process.model_catalogue import load_catalogue
from holdfast.testing.contracts.helpers import client_input
from holdfast.testing.faults import Fate, Faults
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.unit.harness.heads import CONFIG
from tests.unit.harness.place import SlowModel, run


class LostAppends(Faults):
    """No request for an append arrives while `on`."""

    on = False

    def fate(self, process: str, operation: str) -> Fate:
        return "lost" if self.on and operation == "append" else "good"


async def claimed(bus: MemoryBus, key: Key) -> tuple[Intake, Appender]:
    """The inbox of a session that was just claimed; it is known to be empty."""
    claim = Claim(id="clm_1", by="one", trigger=0)
    made = commit(None, [CONFIG], by="one", new_id=new_id, now=1, claim=claim)
    last = Stored(await bus.log.append(key, made, 0), made)
    contexts, watch = Contexts(), InboxWatch()
    contexts.fold(last)
    await watch.open(bus, key)
    replica = Replica(
        bus=bus,
        model=SlowModel(),
        settings=HarnessSettings(),
        catalogue=load_catalogue(),
        name="one",
        now=lambda: 2,
        draining=asyncio.Event(),
    )
    inbox = await bus.inbox.stream_epoch(key.cell)
    session = ClaimedSession(key=key, inbox=inbox, claim=claim, config=CONFIG, last=last, contexts=contexts)
    appender = Appender(replica, session)
    return Intake(replica, appender, watch, requests={}, inbox_known=True), appender


async def taken_by_the_second_of_two(*, heard: bool) -> tuple[list[str], list[str], list[str]]:
    """What was sent, what is in the log, and how both takes ended. The append of the first one is lost."""
    faults = LostAppends()
    bus, key = MemoryBus(MemoryServer(faults)), Key("acme", new_session_id())
    intake, appender = await claimed(bus, key)
    if not heard:
        intake.forget()
    sent: list[ClientInput] = [client_input("one")]
    await bus.inbox.put(key, sent[0])
    await intake.any.wait()
    faults.on = True
    ends: list[str] = []

    async def take() -> None:
        try:
            await intake.take(lambda _: False)
            ends.append("taken")
        except Unavailable:
            faults.on = False
            ends.append("unavailable")

    first = asyncio.create_task(take())
    await asyncio.sleep(0.01)
    second = asyncio.create_task(take())
    sent.append(client_input("two"))
    await bus.inbox.put(key, sent[1])
    await asyncio.gather(first, second)
    await intake.close()
    events = [e for stored in await bus.log.read(key) for e in stored.commit.events]
    assert appender.taken.inputs, "the second take has stored something"
    return [e.id for s in sent for e in s.events], [e.id for e in events if isinstance(e, ev.UserMessage)], ends


def test_a_take_does_not_go_on_behind_inputs_that_another_one_heard_and_did_not_store() -> None:
    sent, taken, ends = run(lambda: taken_by_the_second_of_two(heard=True))
    assert ends == ["unavailable", "taken"]
    assert taken == sent


def test_a_take_does_not_go_on_behind_inputs_that_another_one_read_and_did_not_store() -> None:
    sent, taken, ends = run(lambda: taken_by_the_second_of_two(heard=False))
    assert ends == ["unavailable", "taken"]
    assert taken == sent
