"""How many requests are admitted, how long the others wait, and how much is remembered."""

import pytest

from holdfast.session.http.caller import Caller
from holdfast.session.http.errors import ApiError
from holdfast.session.http.request_limits import FIRST_SWEEP, RateLimit, RequestLimits
from holdfast.session.http.token_bucket import TokenBucket


def admitted(limit: RateLimit, name: str, now: float, requests: int = 1000) -> int:
    return sum(not limit.take(name, now) for _ in range(requests))


def test_a_bucket_admits_a_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(20.0, 50.0)
    assert sum(not bucket.take(100.0) for _ in range(1000)) == 50
    assert bucket.take(100.0) == pytest.approx(0.05)
    assert not bucket.take(100.06)
    assert bucket.take(100.06) == pytest.approx(0.04)
    assert not bucket.is_full(102.5)
    assert bucket.is_full(102.6)
    assert sum(not bucket.take(200.0) for _ in range(1000)) == 50


def test_each_name_has_its_own_rate() -> None:
    limit = RateLimit(5.0)
    assert [admitted(limit, name, 10.0) for name in ("a", "b")] == [10, 10]
    assert admitted(limit, "a", 11.0) == 5
    assert sum(admitted(limit, "b", 11.0 + n / 10) for n in range(100)) == 5 + 49, "in the long run, too"


def test_a_rate_below_one_a_second_admits_one() -> None:
    limit = RateLimit(0.1)
    assert admitted(limit, "a", 0.0) == 1
    assert limit.take("a", 0.0) == pytest.approx(10.0)
    assert admitted(limit, "a", 9.9) == 0
    assert admitted(limit, "a", 10.0) == 1


def test_without_a_limit_nothing_is_counted() -> None:
    limit = RateLimit(0.0)
    assert admitted(limit, "a", 0.0) == 1000
    assert len(limit) == 0


def test_names_that_are_quiet_are_forgotten_and_busy_ones_are_not() -> None:
    limit = RateLimit(1.0)
    for number in range(20 * FIRST_SWEEP):
        limit.take(f"key {number}", float(number))
        assert len(limit) <= FIRST_SWEEP
    assert admitted(limit, "busy", 1e6) == 2
    for number in range(2 * FIRST_SWEEP):
        limit.take(f"another {number}", 1e6)
    assert admitted(limit, "busy", 1e6) == 0


def test_the_limits_of_a_key_and_of_its_tenant_hold_both() -> None:
    limits = RequestLimits(per_key=1.0, per_tenant=1.5)
    one, two, other = (
        Caller(tenant=tenant, role="tenant", key_id=key, key_name="n")
        for tenant, key in (("a", "key_1"), ("a", "key_2"), ("b", "key_3"))
    )
    for caller in (one, one, two, other, other):
        limits.check(caller, "read", 5.0)
    with pytest.raises(ApiError, match="this API key sends") as of_key:
        limits.check(one, "read", 5.0)
    with pytest.raises(ApiError, match="this tenant sends") as of_tenant:
        limits.check(two, "write", 5.0)
    for refused in (of_key.value, of_tenant.value):
        assert (refused.status, refused.kind, refused.headers["retry-after"]) == (429, "rate_limit_error", "1")
    administrator = Caller(tenant="a", role="admin", key_id="key_4", key_name="n")
    limits.check(administrator, "administer", 5.0)
