"""Sets inputs aside that no harness survives (rule 23)."""

from contextlib import aclosing

from holdfast.bus.api import Bus, Delivery
from holdfast.bus.commits import Stored
from holdfast.bus.parked import PARKED, ParkedInput, encode_parked


async def park(bus: Bus, delivery: Delivery, last: Stored, inbox: str, *, now: int) -> int:
    """Keep the inputs that the closing commit takes unread, and count them. Before it, so that none is lost.

    If the commit is refused they are kept although another replica may take them: `holdfast parked release` looks into
    the log first. `now` is in microseconds since 1970.
    """
    key, taken, count = delivery.key, last.commit.head.taken_in(inbox), 0
    async with aclosing(bus.inbox.undecoded(key, taken, upto=delivery.seq)) as unread:
        async for pending in unread:
            if pending.source != delivery.source or pending.seq > delivery.seq:
                continue
            parked = ParkedInput(
                tenant=key.tenant,
                session=key.session,
                source=pending.source,
                seq=pending.seq,
                inbox=inbox,
                parked_at=now,
                reason="no harness got through its turn",
                data=pending.data,
            )
            await bus.kv.put(PARKED, parked.name, encode_parked(parked))
            count += 1
    return count
