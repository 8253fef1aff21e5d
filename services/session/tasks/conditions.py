"""Which tasks of its kind a binding wants: `when`, from paths to the values that they may have. Pure."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta

from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.templates import compile_path, find

Scalar = str | int | bool | None
"""A value that a condition compares with."""

When = dict[
    Annotated[str, Meta(min_length=1, max_length=1024)],
    Annotated[list[Annotated[str, Meta(max_length=1024)] | int | bool | None], Meta(min_length=1, max_length=100)],
]
"""`{"action": ["opened", "reopened"]}`: each path must have one of its values."""

MAX_CONDITIONS = 20
"""Paths of one `when`."""


def check_when(when: Mapping[str, Sequence[Scalar]]) -> None:
    """Raise ValueError for a `when` with a key that is no path, or with too many."""
    if len(when) > MAX_CONDITIONS:
        raise ValueError(f"{len(when)} conditions; at most {MAX_CONDITIONS} are allowed")
    for source in when:
        compile_path(source)


def matches(when: Mapping[str, Sequence[Scalar]], event: TaskEvent) -> bool:
    """Whether the event has one of the values at every path. What is missing equals nothing, not even null.

    Values of different types differ: true is not 1.
    """
    for source, allowed in when.items():
        value = find(compile_path(source), event)
        if not any(type(value) is type(one) and value == one for one in allowed):
            return False
    return True
