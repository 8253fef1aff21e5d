"""The lease of a worker."""

from holdfast.sandbox.lease import Lease


def test_a_lease_starts_nothing_after_two_thirds_and_ends_before_its_registration() -> None:
    lease = Lease(duration=3.0, sent=100.0)
    assert lease.refresh_due == 101.0
    assert lease.may_start(101.99)
    assert not lease.may_start(102.0)
    assert 102.0 < lease.end < 103.0
