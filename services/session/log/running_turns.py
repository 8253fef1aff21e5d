"""How many turns of one tenant may run at once, in all cells that this service serves.

What runs is read from the read model, which knows of the turns of all replicas a moment later, and from what this
process has accepted. So replicas that accept at the same moment may together go over the limit by a few.
"""

from collections.abc import Generator
from contextlib import contextmanager

from holdfast.bus.head import Head
from holdfast.bus.ids import Key
from holdfast.session.http.errors import too_many_turns
from holdfast.session.log.pending import PendingInputs
from holdfast.session.log.readmodel.queries import Queries


class RunningTurns:
    """`most` turns of a tenant at once; 0: no limit."""

    def __init__(self, queries: Queries, pending: PendingInputs, most: int) -> None:
        self._queries = queries
        self._pending = pending
        self._most = most
        self._starting: set[Key] = set()
        """Sessions whose input is being stored."""

    @contextmanager
    def starting(self, key: Key, head: Head | None) -> Generator[None]:
        """The block stores an input that starts a turn of the session, or is taken into the one that runs.

        `head` is that of the session, None for a new one. Raises ApiError 429 if too many turns of other sessions of
        the tenant run, and Unavailable.
        """
        if not self._most or (head is not None and head.status != "idle") or key in self._starting:
            yield
            return
        others = self._running(key.tenant)
        if key.session not in others and len(others) >= self._most:
            raise too_many_turns(self._most)
        self._starting.add(key)
        try:
            yield
        finally:
            self._starting.discard(key)

    def _running(self, tenant: str) -> set[str]:
        """Sessions of the tenant that run, or will; no more than are needed to decide."""
        found = set(self._queries.running(tenant, limit=self._most))
        accepted = (*self._pending.starting(tenant), *(key for key in self._starting if key.tenant == tenant))
        return found.union(key.session for key in accepted)
