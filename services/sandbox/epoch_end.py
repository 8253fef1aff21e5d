"""Which error ended a registration epoch. Pure."""

from collections.abc import Iterator
from typing import Any, cast

from holdfast.bus.errors import BusError


class LeaseOver(Exception):
    """The registration was not refreshed in time. It ends the epoch."""


def end_of_epoch(group: BaseExceptionGroup[Any]) -> LeaseOver | BusError | None:
    """The error that ended the epoch, after which the process goes on: LeaseOver before the first BusError.

    None if the group holds any other error: then the process must not go on.
    """
    leaves = list(_leaves(group))
    expected = [exc for exc in leaves if isinstance(exc, LeaseOver | BusError)]
    if len(expected) < len(leaves):
        return None
    return next((exc for exc in expected if isinstance(exc, LeaseOver)), expected[0])


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    """The errors in a group, however deeply nested."""
    if isinstance(exc, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", exc).exceptions:
            yield from _leaves(inner)
    else:
        yield exc
