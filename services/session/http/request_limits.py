"""How many requests a second one API key, and one tenant, may send to this process. Pure.

Each replica counts for itself: behind a load balancer a client gets up to so many from each. Only requests with a valid
key count, so that nobody without one can use up the share of a tenant.
"""

import math
from typing import Final

from holdfast.session.http.caller import Caller
from holdfast.session.http.errors import too_many_requests
from holdfast.session.http.roles import Access
from holdfast.session.http.token_bucket import TokenBucket

BURST_S: Final = 2.0
"""Seconds' worth of requests that may come at once."""

FIRST_SWEEP: Final = 1_000
"""Buckets from which on those are dropped that are full again."""


class RateLimit:
    """At most `per_s` requests a second for each name, in bursts of BURST_S. 0: no limit."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._buckets: dict[str, TokenBucket] = {}
        self._sweep_at = FIRST_SWEEP

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, now: float) -> float:
        """Seconds until one more request of that name is admitted; 0.0: it is."""
        if not self._per_s:
            return 0.0
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= self._sweep_at:
                self._sweep(now)
            bucket = self._buckets[name] = TokenBucket(self._per_s, max(1.0, BURST_S * self._per_s))
        return bucket.take(now)

    def _sweep(self, now: float) -> None:
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if not bucket.is_full(now)}
        self._sweep_at = max(FIRST_SWEEP, 2 * len(self._buckets))


class RequestLimits:
    """`per_key` and `per_tenant` in requests a second; 0: no limit."""

    def __init__(self, *, per_key: float = 0.0, per_tenant: float = 0.0) -> None:
        self._keys = RateLimit(per_key)
        self._tenants = RateLimit(per_tenant)

    def check(self, caller: Caller, access: Access, now: float) -> None:
        """Raise ApiError 429 if the key, or the tenant, has sent too much. `now` in seconds of a monotonic clock.

        What administers keys does not count for the tenant: a key that floods it can still be revoked.
        """
        if wait := self._keys.take(caller.key_id, now):
            raise too_many_requests("this API key", math.ceil(wait))
        if access != "administer" and (wait := self._tenants.take(caller.tenant, now)):
            raise too_many_requests("this tenant", math.ceil(wait))
