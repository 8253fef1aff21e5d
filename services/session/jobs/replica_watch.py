"""Finds replicas of the harness that died, and has their sessions delivered to others at once (rule 21).

While a replica has a claim it is pinged. nats-server answers in its place that nobody is there once its connection is
gone. A frozen replica gives no answer at all: its sessions are delivered again when ack_wait ends, as without this.
"""

import asyncio
from typing import Final

import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.errors import BusError, Conflict, NoResponders
from holdfast.bus.head import Claim
from holdfast.bus.ids import Key
from holdfast.bus.streams import ACK_WAIT_S
from holdfast.session.log.claims import OpenClaims

PING_INTERVAL_S: Final = 0.05
"""Seconds between two pings of a replica that has a claim."""

PINGS_PER_SECOND: Final = 200
"""With more replicas than this allows, each is pinged less often."""

PING_TIMEOUT_S: Final = 0.05
"""Seconds without an answer after which the replica is pinged again.

It is frozen, slow, or just dead: the kernel needs some 30 ms to take a killed process apart before its connection is
closed, and a ping that is sent meanwhile gets no answer."""

ABSENT_PINGS: Final = 2
"""Pings in a row without a responder that make a replica dead: one alone may be a connection that is made anew."""

ABSENT_INTERVAL_S: Final = 0.02
"""Seconds between those pings."""

DEATH_TTL_S: Final = 60
"""Seconds within which a replica is found dead once, by one replica of this service.

A late NAK takes a session from its new owner, so that several services must not send it. It also bounds what a replica
loses that lives and has a bad connection: one takeover a minute."""

CONCURRENT_READS: Final = 32
"""Sessions of a dead replica that are looked at together."""

_log = structlog.get_logger()


class ReplicaWatch:
    """Watches every replica that has a claim in one cell."""

    def __init__(self, bus: Bus, cell: str, claims: OpenClaims) -> None:
        self._bus = bus
        self._cell = cell
        self._claims = claims
        self._watched: set[str] = set()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._claims.appeared.clear()
                for replica in self._claims.replicas() - self._watched:
                    self._watched.add(replica)
                    tasks.create_task(self._watch(replica), name=f"watch-{replica}")
                await self._claims.appeared.wait()

    async def _watch(self, replica: str) -> None:
        """Ping the replica until it has no claim any more or is dead."""
        try:
            absent = 0
            while absent < ABSENT_PINGS:
                interval = ABSENT_INTERVAL_S if absent else PING_INTERVAL_S
                await asyncio.sleep(max(interval, len(self._watched) / PINGS_PER_SECOND))
                if replica not in self._claims:
                    return
                absent = absent + 1 if await self.is_absent(replica) else 0
            await self._free(replica)
        finally:
            self._watched.discard(replica)

    async def is_absent(self, replica: str) -> bool:
        """True if the server says that the replica is not connected.

        After a loss of the own connection, as when the server was restarted, that says nothing for ack_wait: the
        replica may still be on its way back.
        """
        try:
            await self._bus.core.request(subjects.ping(self._cell, replica), b"", timeout=PING_TIMEOUT_S)
        except NoResponders:
            since = self._bus.connected_since
            return not since or asyncio.get_running_loop().time() - since > ACK_WAIT_S
        except (BusError, ValueError):  # ValueError: the name in the claim is no token
            return False
        return False

    async def _free(self, replica: str) -> None:
        """Have every session that the replica still has claimed delivered again."""
        claims = self._claims.of(replica)
        self._claims.forget(replica)
        try:
            await self._bus.kv.create("hands", subjects.death_key(self._cell, replica), b"", ttl=DEATH_TTL_S)
        except Conflict:
            return  # another replica of this service has found it dead
        except BusError as exc:
            _log.warning("dead harness left to ack_wait", replica=replica, error=str(exc))
            return
        places = asyncio.Semaphore(CONCURRENT_READS)
        freed = await asyncio.gather(*(self._redeliver(key, claim, places) for key, claim in claims))
        _log.warning("harness found dead", replica=replica, sessions=sum(freed))

    async def _redeliver(self, key: Key, claim: Claim, places: asyncio.Semaphore) -> bool:
        """NAK the delivery of the claim if the session still has it. Returns whether that was done."""
        async with places:
            try:
                last = await self._bus.log.head(key, leader=True)
                if last is None or last.commit.head.claim is None or last.commit.head.claim.id != claim.id:
                    return False
                await self._bus.inbox.redeliver(self._cell, claim.trigger, claim.delivery)
            except BusError as exc:
                _log.warning("session left to ack_wait", session=key.session, error=str(exc))
                return False
        return True
