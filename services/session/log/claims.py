"""The open claims of all sessions, by the replica of the harness that has them. Kept by the projector, in memory."""

import asyncio

from holdfast.bus.head import Claim, Head
from holdfast.bus.ids import Key


class OpenClaims:
    """As the log had them when the projector last read it."""

    def __init__(self) -> None:
        self.appeared = asyncio.Event()
        """Set when a replica without claims has got one."""
        self._claims: dict[Key, Claim] = {}
        self._sessions: dict[str, set[Key]] = {}
        """The sessions that a replica has claimed; no empty sets."""

    def __contains__(self, replica: object) -> bool:
        """Whether the replica has a claim."""
        return replica in self._sessions

    def replicas(self) -> set[str]:
        """The replicas that have a claim."""
        return set(self._sessions)

    def of(self, replica: str) -> list[tuple[Key, Claim]]:
        """The claims of a replica."""
        return [(key, self._claims[key]) for key in self._sessions.get(replica, ())]

    def settle(self, key: Key, head: Head) -> None:
        """Take over the claim of a session, or that it has none any more.

        A claim without a delivery counts as none: it was made by an older version, which answers no ping.
        """
        before, now = self._claims.get(key), head.claim if head.claim and head.claim.delivery else None
        if now == before:
            return
        if before is not None:
            self._remove(key, before)
        if now is not None:
            if now.by not in self:
                self.appeared.set()
            self._claims[key] = now
            self._sessions.setdefault(now.by, set()).add(key)

    def forget(self, replica: str) -> None:
        """Forget the claims of a replica until its next commits."""
        for key, claim in self.of(replica):
            self._remove(key, claim)

    def clear(self) -> None:
        """Forget all claims."""
        self._claims.clear()
        self._sessions.clear()

    def _remove(self, key: Key, claim: Claim) -> None:
        del self._claims[key]
        sessions = self._sessions[claim.by]
        sessions.discard(key)
        if not sessions:
            del self._sessions[claim.by]
