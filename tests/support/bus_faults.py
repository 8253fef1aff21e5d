"""Commits and conditions for tests of the bus under faults."""

import time

from holdfast.bus import events as ev
from holdfast.bus.commits import Commit, Stored, commit
from holdfast.bus.ids import new_id


def said(text: str, before: Stored | None = None) -> Commit:
    """A commit with one user message, to follow `before`."""
    message = ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": text}])
    return commit(before, [message], by="test", new_id=new_id, now=time.time_ns() // 1000)


async def is_true(value: bool) -> bool:
    """For `eventually`, which takes coroutines."""
    return value
