"""What comes for a session after its delete is acked by any harness, and nothing is written for it (rules 2 and 29)."""

import asyncio
import contextlib

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored, commit
from holdfast.bus.errors import Conflict
from holdfast.bus.ids import Key, new_id
from holdfast.testing.contracts.helpers import client_input, result
from tests.unit.harness.place import RESPONSE_S, Place, run

SETTLED_S = 30.0
"""Virtual seconds after which every delivery has been repeated, and answered, if anybody answers it."""


async def delete(place: Place, key: Key, *, claimed: bool = False) -> Stored:
    """Delete and erase the session as the session service does; returns the tombstone.

    Raises Conflict if it is claimed, unless it may be, as an archived session.
    """
    last = await place.bus.log.head(key, leader=True)
    assert last is not None
    if last.commit.head.claim and not claimed:
        raise Conflict(expected=0, actual=last.seq)
    gone = commit(last, [ev.SessionDeleted(id=new_id("sevt"))], by="session", new_id=new_id, now=last.commit.at + 1)
    seq = await place.bus.log.append(key, gone, last.seq)
    await place.bus.log.erase(key, seq)
    await place.bus.inbox.erase(key)
    return Stored(seq, gone)


async def answered(place: Place, key: Key) -> list[Stored]:
    """Send an input of each source; returns the log when nothing waits any more."""
    await place.bus.inbox.put(key, client_input("quick and late"))
    await place.bus.inbox.put(key, result())
    await asyncio.sleep(SETTLED_S)
    assert await place.bus.inbox.pending(key) == []
    return await place.bus.log.read(key)


def test_inputs_of_a_deleted_session_are_acked_unread() -> None:
    async def main() -> None:
        place = Place()
        key = await place.session()
        tombstone = await delete(place, key)
        assert await answered(place, key) == [tombstone]
        assert place.model.requests == []
        await place.close()

    run(main)


def test_a_harness_that_remembers_the_session_as_it_was_learns_of_the_delete() -> None:
    async def main() -> None:
        place = Place()
        key = await place.session()
        await place.turn(key, "quick one")
        tombstone = await delete(place, key)
        assert await answered(place, key) == [tombstone]
        await place.close()

    run(main)


def test_an_input_that_was_delivered_before_the_delete_is_gone_with_it() -> None:
    """The claim is refused by the tombstone, whenever that comes between the delivery and the claim."""

    async def main() -> None:
        deleted = 0
        for steps in range(12):
            place = Place()
            key = await place.session()
            await place.bus.inbox.put(key, client_input("quick one"))
            for _ in range(steps):
                await asyncio.sleep(0)
            with contextlib.suppress(Conflict):  # the claim came first, so the session runs: nobody may delete it
                tombstone = await delete(place, key)
                assert await answered(place, key) == [tombstone]
                deleted += 1
            await place.close()
        assert deleted

    run(main)


def test_an_owner_that_a_tombstone_overtakes_appends_nothing_more() -> None:
    async def main() -> None:
        place = Place()
        key = await place.session()
        await place.bus.inbox.put(key, client_input("a long one"))
        await place.until(key, ev.ModelRequestStart)
        tombstone = await delete(place, key, claimed=True)
        assert tombstone.commit.head.claim is None
        await asyncio.sleep(2 * RESPONSE_S)
        assert await answered(place, key) == [tombstone]
        assert len(place.model.requests) == 1
        await place.close()

    run(main)
