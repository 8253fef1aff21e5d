"""What ends a registration epoch so that the worker goes on under a new identity."""

from holdfast.bus.errors import Unavailable
from holdfast.sandbox.epoch_end import LeaseOver, end_of_epoch


def test_a_lost_lease_comes_before_a_bus_error_however_deep_it_is() -> None:
    over = LeaseOver()
    group = BaseExceptionGroup("a", [Unavailable("x"), ExceptionGroup("b", [Unavailable("y"), over])])
    assert end_of_epoch(group) is over


def test_the_first_bus_error_is_the_cause() -> None:
    error = Unavailable("x")
    assert end_of_epoch(ExceptionGroup("a", [ExceptionGroup("b", [error]), Unavailable("y")])) is error


def test_any_other_error_ends_the_process() -> None:
    assert end_of_epoch(ExceptionGroup("a", [LeaseOver(), ValueError("a mistake of ours")])) is None
