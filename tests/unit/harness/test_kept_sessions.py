"""Sessions that were released lately are claimed without a read, as long as nothing else happened to them."""

from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored, commit
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.inputs import Taken
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.turn.inbox_watch import RESTING_LIMIT_INPUTS, InboxWatch
from holdfast.harness.turn.kept_sessions import KeptSession, KeptSessions
from holdfast.testing.contracts.helpers import client_input
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.unit.harness.heads import CONFIG, said
from tests.unit.harness.place import Place, WatchedFaults, run


def test_a_session_that_rests_is_claimed_without_a_read() -> None:
    async def main() -> tuple[int, int, list[str], int]:
        place = Place()
        key = await place.session()
        cold, warm = await place.turn(key, "quick one"), await place.turn(key, "quick two")
        await place.close()
        return cold, warm, place.model.requests, place.dispatcher.replica.dropped.count

    cold, warm, requests, dropped = run(main)
    assert cold - warm == 2, "neither the last commit nor the inbox was read for the claim"
    assert len(requests) == 2
    assert "quick one" in requests[1], "the conversation was kept"
    assert "quick two" in requests[1]
    assert dropped == 0


def test_an_input_whose_arrival_was_not_heard_is_read() -> None:
    async def main() -> tuple[int, int, list[str]]:
        place = Place()
        key = await place.session()
        cold = await place.turn(key, "quick one")
        place.faults.deaf = True
        deaf = await place.turn(key, "quick two")
        await place.close()
        return cold, deaf, place.model.requests

    cold, deaf, requests = run(main)
    assert deaf == cold
    assert "quick two" in requests[-1]


def test_a_claim_by_old_knowledge_is_refused_and_the_session_read() -> None:
    async def main() -> tuple[int, int, list[str], int]:
        place = Place()
        key = await place.session()
        cold = await place.turn(key, "quick one")
        last = await place.bus.log.head(key, leader=True)
        assert last is not None
        updated = ev.SessionUpdated(id=new_id("sevt"), title="new")
        await place.bus.log.append(key, commit(last, [updated], by="edge", new_id=new_id, now=2), last.seq)
        refused = await place.turn(key, "quick two")
        answers = len([e for e in await place.events(key) if isinstance(e, ev.AgentMessage)])
        await place.close()
        assert answers == 2
        return cold, refused, place.model.requests, place.dispatcher.replica.dropped.count

    cold, refused, requests, dropped = run(main)
    assert refused == cold
    assert len(requests) - dropped == 2, "a request that was sent beside the refused claim was dropped and counted"


class Rested:
    """A session in memory that was released after one message, and hears what comes next."""

    def __init__(self) -> None:
        self.faults = WatchedFaults()
        self.bus = MemoryBus(MemoryServer(self.faults))
        self.key = Key("acme", new_session_id())
        self.watch = InboxWatch()
        self.inbox = ""

    async def released(self, text: str = "hello") -> KeptSession:
        self.inbox = await self.bus.inbox.stream_epoch(self.key.cell)
        await self.watch.open(self.bus, self.key)
        seq = await self.bus.inbox.put(self.key, client_input())
        made = commit(None, [CONFIG, said(text)], by="one", new_id=new_id, now=1)
        made = replace(made, head=replace(made.head, inbox=self.inbox, taken=Taken(seq)))
        last = Stored(1, made)
        contexts = Contexts()
        contexts.fold(last)
        self.watch.rest(Taken(seq))
        return KeptSession(inbox=self.inbox, last=last, contexts=contexts, watch=self.watch)

    async def says(self, *, heard: bool = True) -> int:
        self.faults.deaf = not heard
        return await self.bus.inbox.put(self.key, client_input())


def test_only_the_next_input_is_claimed_by_what_is_kept() -> None:
    async def main() -> None:
        rested = Rested()
        kept = await rested.released()
        first, second = await rested.says(), await rested.says()
        assert [p.seq for p in kept.batch(first, rested.inbox)] == [first]
        assert not kept.batch(second, rested.inbox), "another replica may have claimed the session for the first"
        assert not kept.batch(first, "another epoch")

    run(main)


def test_an_input_behind_one_that_was_not_heard_is_not_claimed() -> None:
    async def main() -> None:
        rested = Rested()
        kept = await rested.released()
        await rested.says(heard=False)
        assert not kept.batch(await rested.says(), rested.inbox)

    run(main)


def test_nothing_is_claimed_by_what_was_kept_before_the_connection_broke() -> None:
    async def main() -> None:
        rested = Rested()
        kept = await rested.released()
        seq = await rested.says()
        kept.watch.gap.set()
        assert not kept.batch(seq, rested.inbox)

    run(main)


def test_a_session_at_rest_keeps_little_of_what_it_hears() -> None:
    async def main() -> None:
        rested = Rested()
        kept = await rested.released()
        seqs = [await rested.says() for _ in range(RESTING_LIMIT_INPUTS + 1)]
        assert kept.watch.heard is None
        assert not kept.batch(seqs[0], rested.inbox)

    run(main)


def test_kept_sessions_are_bounded_by_number_and_size() -> None:
    async def main() -> None:
        sessions = [Rested() for _ in range(4)]
        kept = [await s.released("x" * 100) for s in sessions]
        few, small = KeptSessions(sessions=2), KeptSessions(size=250)
        for held in (few, small):
            forgotten = [held.add(s.key, k) for s, k in zip(sessions, kept, strict=True)]
            assert forgotten == [[], [], [kept[0].watch], [kept[1].watch]]
            assert held.pop(sessions[3].key) is kept[3]
            assert held.pop(sessions[3].key) is None
            assert held.add(sessions[2].key, kept[1]) == [kept[2].watch], "one for each session"
            assert len(held) == 1

    run(main)
